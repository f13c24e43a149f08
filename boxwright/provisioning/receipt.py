"""The receipt on the box: what it was made into, from what, when and by whom. `/etc/boxwright/receipt.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from boxwright import __version__
from boxwright.model.fleet import Fleet
from boxwright.model.site import Host
from boxwright.planning.stages import stages_of
from boxwright.reporting.run_log import now, operator
from boxwright.transport.ssh import Endpoint, check

PATH = "/etc/boxwright/receipt.json"

# Runs on the box. Adds the versions found there, and leaves the file alone when only time and person would differ.
_SCRIPT = r"""
exec python3 - "$(cat)" <<'PYTHON'
import json, os, pathlib, subprocess, sys

receipt = json.loads(sys.argv[1])
names = ["linux-image-amd64", "nftables", "nginx", "openssh-server", "prometheus", "prometheus-node-exporter",
         "nvidia-driver-cuda", "nvidia-fabricmanager", "cuda-toolkit-*-[0-9]", "amdgpu-dkms", "rocm-hip-runtime",
         "docker-ce", "docker.io", "nvidia-container-toolkit", "rdma-core"]
form = "${db:Status-Status}\t${Package}\t${Version}\t${binary:Summary}\n"
rows = subprocess.run(["dpkg-query", "-W", "-f", form, *names], capture_output=True, text=True).stdout.splitlines()
versions = {name: version + (", SIMULATED" if "SIMULATED" in summary else "")
            for state, name, version, summary in (row.split("\t") for row in rows) if state == "installed"}
release = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
versions["os"] = release.get("PRETTY_NAME", "").strip('"')
versions["kernel"] = os.uname().release
for link in pathlib.Path("/opt/boxwright").glob("*/current"):
    versions[link.parent.name] = os.readlink(link).rsplit("/", 1)[-1]
receipt["versions"] = dict(sorted(versions.items()))

path = pathlib.Path("/etc/boxwright/receipt.json")
try:
    before = json.loads(path.read_text())
except (OSError, ValueError):
    before = {}
# A run of some stages says nothing about the others, which are as the run before has left them.
same = before.get("profile") == receipt["profile"]
receipt["stages"] = [name for name in receipt.pop("all_stages")
                     if name in receipt["stages"] or (same and name in before.get("stages", []))]
if "models" not in receipt["stages"]:
    receipt["digests"] = {}
passing = ("provisioned_at", "by")
if {k: v for k, v in before.items() if k not in passing} != {k: v for k, v in receipt.items() if k not in passing}:
    path.parent.mkdir(mode=0o755, exist_ok=True)
    fresh = path.with_suffix(".new")
    with open(fresh, "w") as file:
        file.write(json.dumps(receipt, indent=2, sort_keys=True) + "\n")
        os.fchmod(file.fileno(), 0o644)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
PYTHON
"""


def receipt(fleet: Fleet, host: Host, stages: Sequence[str]) -> dict[str, Any]:
    """What the controller knows of a receipt; the box adds its versions."""
    return {
        "boxwright_version": __version__,
        "by": operator(),
        "digests": {file.name: f"sha256:{file.sha256}" for file in fleet.model.files},
        "host": host.name,
        "profile": fleet.profile.name,
        "provisioned_at": now(),
        "site": fleet.site.name,
        "stages": list(stages),
        "all_stages": [stage.name for stage in stages_of(fleet.profile)],
        "waivers": [waiver.model_dump(mode="json") for waiver in fleet.site.waivers],
    }


def write_receipt(endpoint: Endpoint, fleet: Fleet, host: Host, stages: Sequence[str]) -> None:
    """Leave the receipt on a box whose stages all went well.

    Raises:
        BoxwrightError: The box could not write it.
    """
    check(endpoint, _SCRIPT, stdin=json.dumps(receipt(fleet, host, stages)))
