"""Facts about services."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pyinfra.api import FactBase

PROVEN = "/var/lib/boxwright/proven"  # what served last, unit by unit: the program serve-unit keeps it

CARD_RESIDENCY = "/usr/local/lib/boxwright/card-residency"  # the program that tells which cards models lie on
MEMORY_PLACEMENT = "/usr/local/lib/boxwright/memory-placement"  # the one that tells which NUMA nodes

# Exits 0 when the address answers with 2xx. Proxies are for the outside, never for loopback.
PROBE = "import sys,urllib.request as r;r.build_opener(r.ProxyHandler({})).open(sys.argv[1],timeout=5).read(1)"


def probe_command(unit: str, url: str | None) -> str:
    """A shell command that succeeds when `url` answers well on the box itself; without one, when the unit runs."""
    if url is None:
        return f"systemctl is-active --quiet {shlex.quote(unit)}"
    return f"python3 -c {shlex.quote(PROBE)} {shlex.quote(url)} >/dev/null 2>&1"


@dataclass(frozen=True)
class ServiceOnBox:
    """A systemd service, and whether what runs is what the files say."""

    active: bool
    enabled: bool
    reload_needed: bool
    stale: bool  # a file that it reads at its start is younger than the process
    serving: bool


class ServiceState(FactBase):
    """A service's unit, its process against the files that it was started from, and whether it really answers."""

    @staticmethod
    def default() -> ServiceOnBox:
        """Nothing is there."""
        return ServiceOnBox(active=False, enabled=False, reload_needed=False, stale=False, serving=False)

    def command(self, unit: str, url: str | None, files: Sequence[str]) -> str:
        """Ask all of it at once."""
        properties = "ActiveState,UnitFileState,NeedDaemonReload,InactiveExitTimestamp"
        names = " ".join(shlex.quote(path) for path in files)
        return (
            f"systemctl show {shlex.quote(unit)} --timestamp=unix --property={properties}; "
            f"stat -c FileChanged=%Z {names} 2>/dev/null; {probe_command(unit, url)} && echo Serving=yes; true"
        )

    def process(self, output: list[str]) -> ServiceOnBox:
        """Read `Key=value` lines."""
        values = dict(line.split("=", 1) for line in output if "=" in line)
        changes = [int(line.split("=")[1]) for line in output if line.startswith("FileChanged=")]
        started = values.get("InactiveExitTimestamp", "").removeprefix("@")
        return ServiceOnBox(
            active=values.get("ActiveState") == "active",
            enabled=values.get("UnitFileState") == "enabled",
            reload_needed=values.get("NeedDaemonReload") == "yes",
            stale=bool(started.isdigit() and changes and max(changes) > int(started)),
            serving="Serving" in values,
        )


class ProvenUnit(FactBase):
    """Whether what is proven of a unit is this request, with the files as they are now."""

    @staticmethod
    def default() -> bool:
        """Nothing is proven."""
        return False

    def command(self, unit: str, digest: str, written: Sequence[str]) -> str:
        """Compare the files with their copies, and the request by its digest: it holds a key."""
        folder = f"{PROVEN}/{unit}"
        same = " && ".join(f"cmp -s {shlex.quote(path)} {shlex.quote(f'{folder}/files{path}')}" for path in written)
        request = f"sha256sum < {shlex.quote(f'{folder}/request.json')} 2>/dev/null | grep -q ^{digest}"
        return f"{{ {request} && {same}; }} 2>/dev/null && echo proven; true"

    def process(self, output: list[str]) -> bool:
        """Look for the word."""
        return output[-1:] == ["proven"]


class MisplacedEngine(FactBase):
    """Whether the model of an engine that runs does not lie on the cards that it belongs on."""

    @staticmethod
    def default() -> bool:
        """Nobody says so."""
        return False

    def command(self, residency: str) -> str:
        """Ask the program; on a box that has it not yet, an engine is judged when it has served."""
        return f"echo {shlex.quote(f'[{residency}]')} | python3 -I -B {CARD_RESIDENCY} 2>/dev/null; true"

    def process(self, output: list[str]) -> bool:
        """Look whether something is wrong."""
        try:
            return bool(json.loads(output[-1])[0]["wrong"])
        except (ValueError, KeyError, IndexError, TypeError):
            return False


class OwnUnits(FactBase):
    """Names of the unit files of a pattern that Boxwright has written."""

    default = list

    def command(self, pattern: str) -> str:
        """Look for its mark. A pattern that fits no file stays as it is, and no file is found by it."""
        return f"grep -ls '^# Written by Boxwright' /etc/systemd/system/{pattern} || true"

    def process(self, output: list[str]) -> list[str]:
        """Take the names without the folder."""
        return [line.rpartition("/")[2] for line in output if line]
