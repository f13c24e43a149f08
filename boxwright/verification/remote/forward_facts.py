"""Tells which ports of a box are handed on: by containers that publish them, and by rules that translate addresses.

Runs on the box as root, with nothing but Python's standard library. It tells and does not judge.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any


def output_of(*argv: str) -> str:
    """What a command printed. A command that fails is an error, never an empty answer."""
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def containers() -> list[list[str]]:
    """Name and published ports of every container that runs, as Docker writes them."""
    if shutil.which("docker") is None:
        return []
    rows = output_of("docker", "ps", "--format", "{{.Names}}\t{{.Ports}}").splitlines()
    return [row.split("\t") for row in rows if "\t" in row]


def translations() -> list[str]:
    """The rules of iptables that translate addresses, as it saves them; of both families and both back ends."""
    found: list[str] = []
    for program in ("iptables-save", "ip6tables-save", "iptables-legacy-save", "ip6tables-legacy-save"):
        if shutil.which(program) is not None:
            # A kernel without the old tables refuses the old programs, and then there are no such rules.
            argv = [program, "-t", "nat"]
            done = subprocess.run(argv, capture_output=True, text=True, check="legacy" not in program, timeout=30)
            found += [line for line in done.stdout.splitlines() if line.startswith("-A ")]
    return list(dict.fromkeys(found))


def facts(_: Any) -> dict[str, Any]:
    """Containers, rules of nftables, rules of iptables."""
    return {
        "containers": containers(),
        "nft": json.loads(output_of("nft", "--json", "list", "ruleset"))["nftables"],
        "iptables": translations(),
    }


if __name__ == "__main__":
    json.dump(facts(globals()["DATA"]), sys.stdout)
