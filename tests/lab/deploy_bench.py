"""Twins for deploys by the plain `pyinfra` command."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fresh_lab import fresh_lab

from boxwright.lab import Lab, RunningTwin, TwinSpec
from boxwright.mirrors import resolve
from boxwright.model.catalogues import load_engine, load_models
from boxwright.model.debian_packages import DEBIAN_KEYRING
from boxwright.model.hardware import Cpu, Hardware
from boxwright.model.site import Mirrors
from boxwright.model.stack import Service
from boxwright.model.weights import weights_of
from boxwright.serving.llama_cpp import llama_cpp_settings, rendered

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Boxes:
    """Twins, and how to run deploys and commands on them."""

    lab: Lab
    twins: list[RunningTwin]
    folder: Path
    data: dict[str, Any]

    def deploy(self, deploy: str, *options: str, **changes: Any) -> subprocess.Popen[str]:
        hosts = [
            (
                twin.name,
                {
                    "ssh_hostname": twin.address,
                    "ssh_port": twin.port,
                    "ssh_user": twin.user,
                    "ssh_key": str(twin.key),
                    "ssh_known_hosts_file": str(twin.known_hosts),
                    "ssh_strict_host_key_checking": "yes",
                }
                | self.data
                | changes,
            )
            for twin in self.twins
        ]
        inventory = self.folder / "inventory.py"
        inventory.touch(mode=0o600)
        inventory.write_text(f"hosts = {hosts!r}\n")
        pyinfra = Path(sys.executable).with_name("pyinfra")
        return subprocess.Popen(
            [pyinfra, "-y", *options, inventory, f"deploys/{deploy}.py"],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def changes(self, deploy: str, *options: str, **changes: Any) -> int:
        """Run a deploy on every twin; return how many operations changed something."""
        process = self.deploy(deploy, *options, **changes)
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output[-4000:]
        total = re.search(r"Grand total +\d+ +(\d+|-)", output)
        assert total, output[-2000:]
        return int(total[1].replace("-", "0"))

    def on(self, twin: RunningTwin, command: str, stdin: str = "") -> str:
        ssh = ["ssh", "-i", str(twin.key), "-o", f"UserKnownHostsFile={twin.known_hosts}"]
        ssh += ["-o", "StrictHostKeyChecking=yes", "-p", str(twin.port), f"{twin.user}@{twin.address}", command]
        return subprocess.run(ssh, input=stdin, capture_output=True, text=True, check=True, timeout=120).stdout

    def call(self, twin: RunningTwin, url: str, body: object = None, token: str = "") -> tuple[int, Any]:
        """Ask a service on the box itself."""
        program = (
            "import json,sys,urllib.request as r,urllib.error as e\n"
            "q=json.load(sys.stdin)\n"
            "h={'Content-Type':'application/json'}\n"
            "if q['token']: h['Authorization']='Bearer '+q['token']\n"
            "d=None if q['body'] is None else json.dumps(q['body']).encode()\n"
            "try: a=r.urlopen(r.Request(q['url'],d,h),timeout=100); s,t=a.status,a.read().decode()\n"
            "except e.HTTPError as x: s,t=x.code,x.read().decode()\n"
            "print(json.dumps([s,t]))"
        )
        question = json.dumps({"url": url, "body": body, "token": token})
        status, text = json.loads(self.on(twin, f"python3 -c {shlex.quote(program)}", question))
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text


def models_data(lab: Lab, folder: str, files: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the deploy `models` reads, for one build in a folder; its files come out of Python packages or addresses."""
    places = {"path": None, "urls": [], "python_packages": []}
    return {
        "models_builds": [{"name": "a/build", "directory": folder, "files": [places | dict(file) for file in files]}],
        "models_box_folders": [],
        "models_controller_folders": [],
        "models_huggingface": "http://hub.invalid",
        "models_huggingface_token": None,
        "models_modelscope": "http://hub.invalid",
        "models_modelscope_token": None,
        "models_python_index": resolve(Mirrors()).python_index,
        "models_proxy": lab.proxy_url,
        "models_no_proxy": [],
    }


def llama_cpp_words(**changes: Any) -> list[str]:
    """What llama-server is told for the lab's model; `changes` are to the service."""
    service = Service(**{"model": "smollm2", "engine": "llama_cpp", "context_tokens": 2048} | changes)
    hardware = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=4)
    weights = weights_of(service, load_models())
    settings = llama_cpp_settings(service, weights, hardware, None, built=False, cards=False)
    words, _ = rendered(load_engine("llama_cpp"), "b11669", settings)
    return list(words)


def llama_cpp_service(**changes: Any) -> dict[str, Any]:
    """An instance that serves the lab's model from /srv/models/smollm2."""
    weights = weights_of(Service(model="smollm2", engine="llama_cpp"), load_models())
    return {
        "unit": "llama-server",
        "arguments": llama_cpp_words(),
        "environment": {},
        "model_path": f"/srv/models/smollm2/{weights.build.files[0].name}",
        "model_name": weights.model.id,
        "purpose": weights.model.purpose,
        "residency": None,
        "numa_placement": None,
        "least_tokens_per_s": None,
        "cards": False,
        "cores": 2,
        "numa_policy": "default",
        "numa_nodes": [],
        "placed_anew": [],
        "mig": None,
        "port": 8000,
        "patience_s": 120,
    } | changes


def llama_cpp_data(lab: Lab, key: str, services: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the deploy `llama_cpp` reads, with Debian's packages as the program."""
    mirrors = resolve(Mirrors())
    return {
        "llama_cpp_build": None,
        "llama_cpp_builds": "/nonexistent",
        "llama_cpp_services": list(services),
        "llama_cpp_api_key": key,
        "llama_cpp_debian_mirror": mirrors.debian,
        "llama_cpp_debian_keyring": DEBIAN_KEYRING,
        "llama_cpp_debian_check_valid_until": mirrors.check_valid_until,
        "llama_cpp_python_index": mirrors.python_index,
        "llama_cpp_proxy": lab.proxy_url,
        "llama_cpp_no_proxy": [],
    }


@contextmanager
def deploy_bench(name: str, specs: Sequence[TwinSpec], folder: Path) -> Iterator[Boxes]:
    """Boot twins that trust what this machine trusts."""
    with fresh_lab(name) as lab:
        made = Boxes(lab, lab.up(specs), folder, {})
        for twin in made.twins:
            for authority in lab.ca_certificates:
                place = f"/usr/local/share/ca-certificates/{authority.stem}.crt"
                made.on(twin, f"cat > {place} && update-ca-certificates >/dev/null 2>&1", authority.read_text())
        yield made
