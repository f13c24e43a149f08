"""The transient unit of a burn-in, as a script for the box. Pure."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Mapping

from boxwright.burnin import on_box, readings
from boxwright.model.card_programs import CARD_PROGRAMS, FOLDERS, PLACE

NAME = "boxwright-burn-in"
FOLDER = f"/run/{NAME}"  # where programs run: in memory, and gone with the unit
FILE = ".boxwright-burn-in"  # all that is written to a disk, in folders that root alone writes to
# What a person has put there goes before what Boxwright has built.
PATH = ":".join(
    (*FOLDERS, "/sbin", "/bin", "/opt/rocm/bin", *(f"{PLACE}/{one.name}/current/bin" for one in CARD_PROGRAMS))
)
_MODULES = (readings, on_box)  # each may import those before it


def files_of(models_directory: str) -> dict[str, str]:
    """Where a file is written, by the name of its disk. Those that lie on one disk count once."""
    return {"system": f"/var/lib/{FILE}", "models": f"{models_directory}/{FILE}"}


def program() -> str:
    """The program of the box, of one piece."""
    pieces = ["import sys, types"]
    for module in _MODULES[:-1]:
        name, source = module.__name__, inspect.getsource(module)
        pieces.append(f"m = sys.modules[{name!r}] = types.ModuleType({name!r})\nexec({source!r}, m.__dict__)")
    source = inspect.getsource(_MODULES[-1])
    pieces.append(f"exec({source!r}, globals())")
    return "\n".join(pieces)


def script(files: Mapping[str, str], seconds: int) -> str:
    """What begins a burn-in on the box, which then takes its orders on standard input.

    To the unit every disk is read-only but for its own files: that is systemd's promise, whatever a program tries.

    Args:
        files: From `files_of`.
        seconds: After so many it ends whatever happens.
    """
    own = shlex.join(files.values())
    properties = [
        f"RuntimeMaxSec={seconds}",
        f"RuntimeDirectory={NAME}",
        f"WorkingDirectory={FOLDER}",
        "TimeoutStopSec=20",
        "OOMScoreAdjust=1000",  # where memory runs short, the burn-in goes, and not what serves
        "MemorySwapMax=0",
        "TasksMax=infinity",
        "LimitMEMLOCK=infinity",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        "PrivateTmp=yes",
        "NoNewPrivileges=yes",
        *(f"ReadWritePaths=-{path}" for path in files.values()),
        # From outside of what the unit sees: there its files are mounts, which cannot be removed.
        f"ExecStopPost=+/usr/bin/nsenter --target 1 --mount /bin/rm -f {own}",
    ]
    command = [
        *("systemd-run", "--quiet", "--collect", "--wait", "--pipe", "--service-type=exec", f"--unit={NAME}"),
        f"--description=Boxwright burns this machine in, for {seconds} s at most",
        *(f"--property={one}" for one in properties),
        *("python3", "-I", "-S", "-c", program()),
    ]
    # A link that somebody laid there goes, and not what it leads to. A folder that is not there has no file.
    return (
        f'umask 077; for file in {own}; do rm -f "$file"; [ ! -d "${{file%/*}}" ] || : >"$file"; done\n'
        f"exec {shlex.join(command)}"
    )


def leftovers(files: Mapping[str, str]) -> str:
    """A script that waits for the end of the unit, and tells what is left of a burn-in."""
    state = f"systemctl show --property=ActiveState --value {NAME}"
    paths = shlex.join([*files.values(), FOLDER])
    return (
        f'for _ in $(seq 30); do case "$({state})" in inactive|failed) break;; esac; sleep 1; done\n'
        f"systemctl --quiet is-active {NAME} && echo its unit; ls -d {paths} 2>/dev/null; true"
    )
