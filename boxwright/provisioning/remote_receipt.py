"""Runs on the box, sent there as source: completes the receipt and writes it, if anything but time would differ.

Reads what the controller knows as JSON on standard input; the receipt's path is the one argument. Standard library
only, for whatever Python 3 the box has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = (
    "linux-image-amd64",
    "nftables",
    "nginx",
    "openssh-server",
    "prometheus",
    "prometheus-node-exporter",
    "nvidia-driver-cuda",
    "nvidia-headless-no-dkms-*",
    "nvidia-fabricmanager*",
    "cuda-toolkit-*-[0-9]",
    "amdgpu-dkms",
    "rocm-hip-runtime",
    "docker-ce",
    "docker.io",
    "nvidia-container-toolkit",
    "rdma-core",
)
PASSING = ("provisioned_at", "by", "run", "started_at", "source_revision")


def versions() -> dict[str, str]:
    """What is installed on this box, by name."""
    form = "${db:Status-Status}\t${Package}\t${Version}\t${binary:Summary}\n"
    told = subprocess.run(["dpkg-query", "-W", "-f", form, *PACKAGES], capture_output=True, text=True, check=False)
    rows = (row.split("\t") for row in told.stdout.splitlines())
    found = {
        name: version + (", SIMULATED" if "SIMULATED" in summary else "")
        for state, name, version, summary in rows
        if state == "installed"
    }
    lines = Path("/etc/os-release").read_text().splitlines()
    release = dict(line.split("=", 1) for line in lines if "=" in line)
    found["os"] = release.get("PRETTY_NAME", "").strip('"')
    found["kernel"] = os.uname().release
    for link in Path("/opt/boxwright").glob("*/current"):
        found[link.parent.name] = link.readlink().name + (", SIMULATED" if (link / "SIMULATED").exists() else "")
    return dict(sorted(found.items()))


def merged(news: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The receipt after a run. One of some stages says nothing about the others: they are as they were left.

    So does one of some stages without a bundle: the rest is still made from the one of before.
    """
    kept = before if before.get("profile") == news["profile"] else {}
    ran, earlier = news["stages"], kept.get("stages", [])
    receipt = {name: value for name, value in news.items() if name != "all_stages"}
    receipt["stages"] = [name for name in news["all_stages"] if name in ran or name in earlier]
    if "models" not in ran:
        receipt["digests"] = kept.get("digests", {}) if "models" in earlier else {}
    if not receipt.get("bundle") and set(ran) != set(news["all_stages"]):
        receipt["bundle"] = kept.get("bundle")
    return receipt


def lasting(receipt: dict[str, Any]) -> dict[str, Any]:
    """What of a receipt tells two boxes apart, and not two runs. A bundle is its lock: it may be signed anew."""
    bundle = receipt.get("bundle") or {}
    kept = {name: value for name, value in receipt.items() if name not in PASSING}
    return {**kept, "bundle": bundle.get("lock")}


def read(path: Path) -> dict[str, Any]:
    """The receipt that is there; nothing when there is none, or none that can be read."""
    try:
        receipt = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return receipt if isinstance(receipt, dict) else {}


def write(path: Path, receipt: dict[str, Any]) -> None:
    """Put the receipt in its place as a whole, or not at all."""
    path.parent.mkdir(mode=0o755, exist_ok=True)
    fresh = path.with_suffix(".new")
    with fresh.open("w") as file:
        file.write(json.dumps(receipt, indent=2, sort_keys=True) + "\n")
        os.fchmod(file.fileno(), 0o644)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def main(path: Path, news: dict[str, Any]) -> None:
    """Bring the receipt at a path up to date."""
    before = read(path)
    receipt = merged({**news, "versions": versions()}, before)
    if lasting(receipt) != lasting(before):
        write(path, receipt)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.load(sys.stdin))
