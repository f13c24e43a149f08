"""Ollama by the plain pyinfra command: from a bare host to an answer, upgrade, failed upgrade, rollback.

Ollama itself is in no registry that a lab has, so the archive is SIMULATED: a small program over a real llama-server.
Set BOXWRIGHT_OLLAMA_TARBALL to a genuine archive, and BOXWRIGHT_OLLAMA_VERSION to its release, to run these tests on
it; those that need an Ollama that fails on purpose use simulated ones all the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deploy_bench import Boxes, deploy_bench, models_data

from boxwright.lab import RunningTwin, TwinSpec
from boxwright.lab.vendors.ollama import debian_llama_cpp, simulated_ollama
from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet
from boxwright.model.hardware import Cpu, Hardware
from boxwright.model.ollama import OllamaArtefact, archive_of
from boxwright.model.site import Artefacts, Host, Mirrors, Site
from boxwright.model.stack import Service
from boxwright.model.variables import revealed
from boxwright.model.weights import weights_of
from boxwright.planning.ollama_variables import ollama_variables

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

GENUINE = os.environ.get("BOXWRIGHT_OLLAMA_TARBALL", "")
NEW = os.environ.get("BOXWRIGHT_OLLAMA_VERSION", "0.33.0")
OLD = "0.32.7"  # always simulated
HARDWARE = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=6)
WEIGHTS = weights_of(Service(model="smollm2", engine="ollama"), load_models())
FOLDER = WEIGHTS.folder("/srv/models")
QUESTION = {
    "model": "smollm2",
    "messages": [{"role": "user", "content": "What is the capital of France? Answer in one word."}],
    "temperature": 0,
    "max_tokens": 24,
}
NAME = "smollm2-135m-instruct:latest"
CHAT = "http://127.0.0.1:8000/v1/chat/completions"


def genuine() -> OllamaArtefact:
    with Path(GENUINE).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return OllamaArtefact(version=NEW, path=GENUINE, sha256=digest)


def archive(made: OllamaArtefact) -> dict[str, Any]:
    found = archive_of(made.version, [made], "")
    assert found
    return found.model_dump()


def service(release: str, **changes: Any) -> dict[str, Any]:
    """What a profile's service is projected to, with some changes."""
    profile = load_profile("lab-ollama")
    stack = profile.stack.model_copy(update={"engine_version": release})
    site = Site(
        name="s",
        hosts=(Host(name="o13", address="192.0.2.7"),),
        artefacts=Artefacts(ollama=(OllamaArtefact(version=release, path="/any.tgz", sha256="0" * 64),)),
    )
    profile = profile.model_copy(update={"stack": stack})
    variables = ollama_variables(make_fleet(profile, site, load_models(), load_accelerators()))
    assert variables
    (told,) = revealed(variables.services)
    if "unit" in changes:
        told = json.loads(json.dumps(told).replace("/.ollama/ollama", f"/.ollama/{changes['unit']}"))
    return told | changes | {"environment": told["environment"] | changes.get("environment", {})}


@dataclass
class Ollama:
    """A twin, and Ollama on it."""

    boxes: Boxes
    twin: RunningTwin
    new: OllamaArtefact
    old: OllamaArtefact

    def on(self, command: str, stdin: str = "") -> str:
        return self.boxes.on(self.twin, command, stdin)

    def changes(self, which: OllamaArtefact, *options: str, **wanted: Any) -> int:
        return self.boxes.changes(
            "ollama", *options, ollama_archive=archive(which), ollama_services=[service(which.version, **wanted)]
        )

    def refused(self, which: OllamaArtefact, **wanted: Any) -> str:
        process = self.boxes.deploy(
            "ollama", ollama_archive=archive(which), ollama_services=[service(which.version, **wanted)]
        )
        output, _ = process.communicate(timeout=600)
        assert process.returncode != 0, output
        return output

    def asks(self, path: str, body: object = None) -> Any:
        status, answer = self.boxes.call(self.twin, f"http://127.0.0.1:8000{path}", body)
        assert status == 200, answer
        return answer

    @property
    def serves(self) -> str:
        answer = self.asks("/v1/chat/completions", QUESTION)
        assert "Paris" in answer["choices"][0]["message"]["content"]
        return str(self.asks("/api/version")["version"])


@pytest.fixture(scope="module")
def ollama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ollama]:
    new = genuine() if GENUINE else simulated_ollama(NEW, print)
    old = simulated_ollama(OLD, print, kind="tgz")
    specs = [TwinSpec("o13", "debian-13", HARDWARE)]
    with deploy_bench("test-ollama", specs, tmp_path_factory.mktemp("ollama")) as made:
        (twin,) = made.twins
        files = [file.model_dump() for file in WEIGHTS.build.files]
        made.data = models_data(made.lab, FOLDER, files) | {
            "ollama_models_directory": "/srv/models",
            "ollama_proxy": None,
            "ollama_no_proxy": [],
        }
        proxied = f"-o Acquire::http::Proxy={made.lab.proxy_url} -o Acquire::https::Proxy={made.lab.proxy_url}"
        made.on(twin, f"apt-get -qq {proxied} update && apt-get -qq {proxied} install zstd >/dev/null 2>&1")
        assert made.changes("models")
        yield Ollama(made, twin, new, old)


def test_an_installation_by_hand_is_named_and_nothing_is_touched(ollama: Ollama) -> None:
    ollama.on(
        "mkdir -p /usr/local/lib/ollama /etc/systemd/system/ollama.service.d; touch /usr/local/bin/ollama;"
        "printf '[Service]\\nExecStart=/usr/local/bin/ollama serve\\n' > /etc/systemd/system/ollama.service;"
        "printf '[Service]\\n' > /etc/systemd/system/ollama.service.d/override.conf"
    )
    output = ollama.refused(ollama.new)
    places = ["/usr/local/bin/ollama", "/usr/local/lib/ollama", "/etc/systemd/system/ollama.service"]
    assert all(place in output for place in (*places, "/etc/systemd/system/ollama.service.d/override.conf"))
    assert "rm -rf" in output
    assert ollama.on("ls /opt/boxwright 2>/dev/null; id ollama 2>/dev/null; true") == ""
    ollama.on(f"rm -rf {' '.join(places)} /etc/systemd/system/ollama.service.d")


def test_an_archive_that_is_not_the_promised_one_is_refused_before_anything_is_sent(ollama: Ollama) -> None:
    output = ollama.refused(ollama.old.model_copy(update={"sha256": "0" * 64}))
    assert f"has the sha256 {ollama.old.sha256}, and {'0' * 64} is wanted" in output
    assert ollama.on("ls /var/lib/boxwright/incoming 2>/dev/null; true") == ""


def test_from_a_bare_host_to_an_answer_and_then_no_change(ollama: Ollama) -> None:
    assert ollama.changes(ollama.old)
    assert ollama.serves == OLD
    assert ollama.changes(ollama.old) == 0
    assert ollama.on("ls /var/lib/boxwright/incoming") == ""


def test_the_weights_are_linked_and_every_name_answers(ollama: Ollama) -> None:
    names = sorted(one["name"] for one in ollama.asks("/api/tags")["models"])
    assert names == ["smollm2-135m-instruct:latest", "smollm2:latest"]
    blob = f"/srv/models/.ollama/ollama/blobs/sha256-{WEIGHTS.build.files[0].sha256}"
    inodes = ollama.on(f"stat -c '%i %U %a' {blob} {FOLDER}/{WEIGHTS.build.files[0].name}").splitlines()
    assert len(set(inodes)) == 1
    assert inodes[0].endswith("root 644")  # which Ollama cannot write to
    (loaded,) = {one["size_vram"] for one in ollama.asks("/api/ps")["models"]}
    assert loaded == 0


def test_it_runs_as_its_own_user_by_its_own_unit_with_settings_in_a_drop_in_alone(ollama: Ollama) -> None:
    shown = ollama.on("systemctl show ollama -p User -p FragmentPath -p DropInPaths -p Environment").splitlines()
    told = dict(line.split("=", 1) for line in shown)
    assert told["User"] == "ollama"
    assert told["FragmentPath"] == "/etc/systemd/system/ollama.service"
    assert told["DropInPaths"] == "/etc/systemd/system/ollama.service.d/boxwright.conf"
    assert "OLLAMA_CONTEXT_LENGTH=4096" in told["Environment"].split()
    assert "OLLAMA_HOST=127.0.0.1:8000" in told["Environment"].split()
    open_to_others = "ss -Hlnt | awk '{print $4}' | grep -v -e '^127\\.' -e '^\\[::1\\]' -e ':22$' || :"
    assert ollama.on(open_to_others) == ""


def test_people_of_the_machine_do_not_reach_it_and_services_do(ollama: Ollama) -> None:
    url = "http://127.0.0.1:8000/api/version"
    as_user = 'setpriv --reuid={} --regid={} --clear-groups curl -s -o /dev/null -w %{{http_code}} {}; echo " $?"'
    assert ollama.on(as_user.format(1000, 1000, url)).split() == ["000", "7"]
    assert ollama.on(as_user.format(65534, 65534, url)).split() == ["000", "7"]
    assert ollama.on(as_user.format(33, 33, url)).split() == ["200", "0"]
    ollama.on("nft flush ruleset")
    assert ollama.on(as_user.format(1000, 1000, url)).split() == ["200", "0"]
    assert ollama.changes(ollama.old) == 1
    assert ollama.on(as_user.format(1000, 1000, url)).split() == ["000", "7"]


@pytest.mark.on_demand
def test_the_variables_of_llama_server_reach_it(ollama: Ollama) -> None:
    pass_through = {"LLAMA_ARG_NUMA": "distribute", "LLAMA_ARG_N_CPU_MOE": "3"}
    assert (
        ollama.changes(ollama.old, environment=pass_through) == 3
    )  # the drop-in, what was asked for, what serves by it
    find = "pgrep -f 'llama-server.*--model' | head -1"
    seen = ollama.on(f"tr '\\0' '\\n' < /proc/$({find})/environ").splitlines()
    assert "LLAMA_ARG_NUMA=distribute" in seen
    assert "LLAMA_ARG_N_CPU_MOE=3" in seen
    assert ollama.changes(ollama.old) == 3


def test_a_dry_run_foresees_the_upgrade_and_changes_nothing(ollama: Ollama) -> None:
    before = ollama.on("find /opt/boxwright /etc/ollama /etc/systemd/system -printf '%p %T@ %l\\n' | sort")
    wanted = {"ollama_archive": archive(ollama.new), "ollama_services": [service(NEW)]}
    process = ollama.boxes.deploy("ollama", "--dry", **wanted)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert ollama.on("find /opt/boxwright /etc/ollama /etc/systemd/system -printf '%p %T@ %l\\n' | sort") == before


def test_an_upgrade_keeps_its_predecessor_and_going_back_fetches_nothing(ollama: Ollama) -> None:
    assert ollama.changes(ollama.new)
    assert ollama.serves == NEW
    assert ollama.changes(ollama.new) == 0
    versions = ollama.on("cd /opt/boxwright/ollama && ls -d [0-9]*; readlink current").split()
    assert versions == [f"{OLD}-{ollama.old.sha256[:12]}", *[f"{NEW}-{ollama.new.sha256[:12]}"] * 2]
    gone = ollama.old.model_copy(update={"path": "/nowhere/ollama.tgz"})  # it is unpacked on the box, and not needed
    assert ollama.changes(gone)
    assert ollama.serves == OLD
    assert ollama.changes(ollama.new)
    assert ollama.serves == NEW


@pytest.mark.parametrize(
    ("fault", "wanted", "reason"),
    [
        pytest.param(
            {"serve": "ends"}, {}, "ends as soon as it is started", id="does-not-start", marks=pytest.mark.on_demand
        ),
        pytest.param(
            {"on_cards": 0.25}, {}, "none of it belongs there", id="lies-elsewhere", marks=pytest.mark.on_demand
        ),
        pytest.param(
            {},
            {"least_tokens_per_s": 1e6},
            "the profile asks for 1000000",
            id="too-slow",
            marks=pytest.mark.on_demand,
        ),
        pytest.param(
            {},
            {"modelfile": "FROM /etc/hostname\n"},
            "ollama create smollm2-135m-instruct failed: Error: ",
            id="model-not-taken",
            marks=pytest.mark.on_demand,
        ),
    ],
)
def test_what_does_not_serve_gives_way_to_what_served_before(
    ollama: Ollama, fault: dict[str, Any], wanted: dict[str, Any], reason: str
) -> None:
    broken = simulated_ollama("0.33.8", print, **fault)
    output = ollama.refused(broken, **wanted)
    assert reason in output, output[-3000:]
    assert f"Ollama {NEW} serves again, with the settings that it had." in output
    assert ollama.serves == NEW
    assert f"What Ollama {NEW} is told" in ollama.on("cat /etc/systemd/system/ollama.service.d/boxwright.conf")
    assert ollama.changes(ollama.new) == 2  # what was asked for, and nothing of what serves


def test_crashes_from_before_do_not_count_against_what_systemd_restarts_by_itself(ollama: Ollama) -> None:
    """A version that was put back may be started by systemd's own restart, before anybody orders it."""
    unit = "[Service]\nExecStart=/bin/{}\nRestart=always\nRestartSec=200ms\n[Unit]\nStartLimitIntervalSec=0\n"
    place = "/etc/systemd/system/crashing.service"
    ollama.on(f"cat > {place}; systemctl daemon-reload; systemctl start crashing", unit.format("false"))
    ollama.on("until [ $(systemctl show --value -p NRestarts crashing) -ge 4 ]; do sleep 0.1; done")
    ollama.on(f"cat > {place}; systemctl daemon-reload", unit.format("sleep inf"))
    ollama.on("until [ $(systemctl show --value -p SubState crashing) = running ]; do sleep 0.1; done")
    asked = f"""\
import sys
sys.path.insert(0, "/usr/local/lib/boxwright/run-ollama.d")
from instance import Instance
one = Instance({{"unit": "crashing", "names": ["m"], "port": 1, "files": ["{place}"]}})
one.start()
print(one._crashed())
"""
    assert ollama.on("/usr/bin/python3 -I -B -", asked).strip() == "False"
    ollama.on(f"systemctl stop crashing; rm {place}; systemctl daemon-reload")


@pytest.mark.on_demand
def test_a_model_on_the_processor_is_refused_where_cards_should_serve(ollama: Ollama) -> None:
    """The twin has no card: an nvidia-smi of the test's own, SIMULATED, tells what the driver would."""
    fallen = simulated_ollama("0.33.8", print, on_cards=0.5)
    output = ollama.refused(fallen, placement="cards")
    assert "all of it belongs there" in output
    assert f"Ollama {NEW} serves again" in output
    hopeful = simulated_ollama("0.33.9", print, on_cards=1.0)  # says what is hoped, and the driver knows of nothing
    output = ollama.refused(hopeful, placement="cards")
    assert "the driver does not tell what is on the cards" in output
    ollama.on("printf '#!/bin/sh\\necho 1, 9000\\n' > /usr/bin/nvidia-smi; chmod 755 /usr/bin/nvidia-smi")
    output = ollama.refused(hopeful, placement="cards")
    assert "its processes have 0.00 GB there" in output
    seen = """#!/bin/sh\nfor p in $(pgrep -f "llama-server.*--model"); do echo "$p, 200"; done\n"""
    ollama.on("cat > /usr/bin/nvidia-smi", seen)
    assert ollama.boxes.changes(
        "ollama", ollama_archive=archive(hopeful), ollama_services=[service("0.33.9", placement="cards")]
    )
    assert ollama.serves == "0.33.9"
    ollama.on("rm /usr/bin/nvidia-smi")
    assert ollama.changes(ollama.new)
    assert ollama.serves == NEW


@pytest.mark.on_demand
def test_a_changed_model_is_registered_anew_and_drift_is_put_back(ollama: Ollama) -> None:
    cooler = service(NEW)["modelfile"] + "\nPARAMETER temperature 0.1\n"
    assert ollama.changes(ollama.new, modelfile=cooler) == 3
    assert ollama.changes(ollama.new, modelfile=cooler) == 0
    warmer = service(NEW)["modelfile"] + "\nPARAMETER temperature 0.9"
    ollama.on("cat > /etc/ollama/Modelfile", f"{warmer}\n")  # as a run leaves it that is killed behind writing it
    assert ollama.changes(ollama.new, modelfile=warmer) == 2
    small = ollama.on("find /srv/models/.ollama/ollama/blobs -size -4k -exec cat {} +")
    assert '"temperature": 0.9' in small
    assert ollama.changes(ollama.new, modelfile=cooler)
    ollama.on("OLLAMA_HOST=127.0.0.1:8000 HOME=/root /opt/boxwright/ollama/current/bin/ollama rm smollm2")
    assert ollama.changes(ollama.new, modelfile=cooler) == 1
    assert len(ollama.asks("/api/tags")["models"]) == 2
    assert ollama.changes(ollama.new, names=["smollm2-135m-instruct"]) >= 1
    assert [one["name"] for one in ollama.asks("/api/tags")["models"]] == ["smollm2-135m-instruct:latest"]
    assert ollama.changes(ollama.new)


def test_weights_that_were_altered_are_not_registered(ollama: Ollama) -> None:
    path = f"{FOLDER}/{WEIGHTS.build.files[0].name}"
    ollama.on(f"touch {path}")
    output = ollama.refused(ollama.new, modelfile=service(NEW)["modelfile"] + "\nPARAMETER top_k 5\n")
    assert "is not as it was verified: run the stage models again" in output
    assert f"Ollama {NEW} serves again" in output
    assert ollama.boxes.changes("models")
    assert ollama.changes(ollama.new) == 1  # what was asked for, and nothing of what serves
    assert ollama.serves == NEW


def test_after_a_reboot_the_model_is_loaded_before_anybody_asks(ollama: Ollama) -> None:
    ollama.on("systemctl restart ollama")
    assert [one["name"] for one in ollama.asks("/api/ps")["models"]] == [NAME]
    assert ollama.changes(ollama.new) == 0


@pytest.mark.on_demand
def test_a_second_instance_has_its_own_port_and_unit_and_goes_when_it_is_not_wanted(ollama: Ollama) -> None:
    further = {"unit": "ollama-helper", "port": 8001, "environment": {"OLLAMA_HOST": "127.0.0.1:8001"}}
    both = [service(NEW), service(NEW, **further)]
    told = {"ollama_archive": archive(ollama.new), "ollama_services": both}
    before = ollama.on("systemctl show ollama -p ActiveEnterTimestampMonotonic")
    assert ollama.boxes.changes("ollama", **told)
    status, answer = ollama.boxes.call(ollama.twin, CHAT.replace("8000", "8001"), QUESTION)
    assert status == 200, answer
    assert ollama.on("systemctl show ollama -p ActiveEnterTimestampMonotonic") == before
    assert ollama.boxes.changes("ollama", **told) == 0
    assert ollama.changes(ollama.new)
    assert ollama.on("systemctl is-active ollama-helper || true").strip() == "inactive"
    assert ollama.on("ls /etc/systemd/system | grep helper || true") == ""
    assert ollama.serves == NEW


@pytest.fixture(scope="module")
def shards(ollama: Ollama, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The weights in three files, split by the real llama-gguf-split, as a fetched build of the box."""
    folder = tmp_path_factory.mktemp("shards")
    whole = folder / "whole.gguf"
    with whole.open("wb") as target:
        ssh = ["ssh", "-i", str(ollama.twin.key), "-o", f"UserKnownHostsFile={ollama.twin.known_hosts}"]
        asked = [*ssh, "-p", str(ollama.twin.port), f"root@{ollama.twin.address}"]
        subprocess.run([*asked, f"cat {FOLDER}/{WEIGHTS.build.files[0].name}"], stdout=target, check=True)
    root = debian_llama_cpp("llama.cpp-tools-extra", "llama-gguf-split", print, Mirrors())
    libraries = root / "usr/lib/x86_64-linux-gnu"
    running = [libraries / "ld-linux-x86-64.so.2", "--library-path", f"{libraries}:{libraries}/llama"]
    splitting = [*running, root / "usr/bin/llama-gguf-split", "--split", "--split-max-tensors", "120"]
    subprocess.run([*splitting, whole, folder / "m"], check=True, capture_output=True)
    files = []
    for path in sorted(folder.glob("m-0*.gguf")):
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        files.append({"name": path.name, "bytes": path.stat().st_size, "sha256": digest})
    told = models_data(ollama.boxes.lab, "/srv/models/m/split", files)
    assert ollama.boxes.changes("models", **told | {"models_controller_folders": [str(folder)]})
    return files


@pytest.mark.on_demand
def test_shards_are_registered_from_their_folder(ollama: Ollama, shards: list[dict[str, Any]]) -> None:
    assert len(shards) == 3
    weights = [
        {"path": f"/srv/models/m/split/{file['name']}", "sha256": file["sha256"], "bytes": file["bytes"]}
        for file in shards
    ]
    told = {"names": ["shards"], "weights": weights, "modelfile": "FROM /srv/models/m/split"}
    assert ollama.changes(ollama.new, **told)
    answer = ollama.asks("/v1/chat/completions", QUESTION | {"model": "shards"})
    assert "Paris" in answer["choices"][0]["message"]["content"]
    links = ollama.on("stat -c %h /srv/models/m/split/*.gguf").split()
    assert links == ["2", "2", "2"]
    assert ollama.changes(ollama.new, **told) == 0
    assert ollama.changes(ollama.new)
    assert ollama.serves == NEW


@pytest.mark.on_demand
def test_on_another_disk_weights_are_copied_where_there_is_room(ollama: Ollama) -> None:
    elsewhere = {"store": "/srv/other/ollama", "environment": {"OLLAMA_MODELS": "/srv/other/ollama"}}
    ollama.on("mkdir -p /srv/other && mount -t tmpfs -o size=400m tmpfs /srv/other")
    output = ollama.refused(ollama.new, **elsewhere)
    assert "for Ollama writes its files anew" in output
    assert f"Ollama {NEW} serves again" in output
    ollama.on("umount /srv/other && mount -t tmpfs -o size=900m tmpfs /srv/other")
    assert ollama.changes(ollama.new, **elsewhere)
    blob = f"/srv/other/ollama/blobs/sha256-{WEIGHTS.build.files[0].sha256}"
    assert ollama.on(f"stat -c '%U %s' {blob}").split() == ["ollama", str(WEIGHTS.build.files[0].bytes)]
    assert ollama.serves == NEW
    assert ollama.changes(ollama.new)
    ollama.on("umount /srv/other")


@pytest.mark.on_demand
def test_a_killed_run_is_made_good_by_the_next_one(ollama: Ollama) -> None:
    process = ollama.boxes.deploy(
        "ollama",
        ollama_archive=archive(ollama.old),
        ollama_services=[service(OLD)],
    )
    ollama.on("for i in $(seq 600); do pgrep -f '[r]un-ollama.d activate' && break; sleep 0.1; done")
    ollama.on("pkill -9 -f '[r]un-ollama.d activate'")
    process.communicate(timeout=300)
    assert process.returncode != 0
    assert ollama.changes(ollama.old)
    assert ollama.serves == OLD
    assert ollama.changes(ollama.old) == 0


def test_the_gateways_host_is_taken_and_a_strangers_is_not(ollama: Ollama) -> None:
    ask = "curl -s -o /dev/null -w %{{http_code}} -H 'Host: {}' http://127.0.0.1:8000/api/version"
    assert ollama.on(ask.format("127.0.0.1:8000")) == "200"
    assert ollama.on(ask.format("chat.example")) == "403"


def test_the_proof_names_no_secret_and_is_readable_by_root_alone_or_all(ollama: Ollama) -> None:
    proof = json.loads(ollama.on("cat /opt/boxwright/ollama/proven.json"))
    assert proof["request"]["release"] == ollama.serves
    assert shlex.quote(FOLDER) in json.dumps(proof)
