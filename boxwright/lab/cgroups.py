"""Control groups: who is in one, how to join one, how to end everything in it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from boxwright.errors import LabError

ROOT = Path("/sys/fs/cgroup")
GRACE_S = 4.0  # what a supervisor gets to end its twin in order
KILL_S = 10.0
# A shell joins the groups before it becomes the program, so that no moment of the program is outside of them.
_JOIN = 'until [ "$1" = -- ]; do echo $$ >"$1/cgroup.procs" || exit; shift; done; shift; exec "$@"'


def joining(groups: Sequence[Path], argv: Sequence[str]) -> list[str]:
    """The command that runs a program inside of these groups."""
    return ["sh", "-c", _JOIN, "sh", *map(str, groups), "--", *argv]


def own_groups() -> list[Path]:
    """The control groups of this process in the trees that nspawn uses."""
    groups = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        tree = {"": _unified_tree(), "name=systemd": ROOT / "systemd"}.get(controllers)
        if tree is not None and tree.is_dir():
            groups.append(tree / path.lstrip("/"))
    return groups


def group_pids(groups: Sequence[Path]) -> list[int]:
    """The processes of these groups and of the groups below them."""
    found: set[int] = set()
    for group in groups:
        for file in _procs_files(group):
            with suppress(OSError):
                found.update(int(pid) for pid in file.read_text().split())
    return sorted(found)


def memory_bytes(pids: Sequence[int]) -> int:
    """Memory of these processes, with shared pages counted once among their users."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024
    return total


def end_group(groups: Sequence[Path]) -> None:
    """Ask the first process to end, then kill what still lives.

    Raises:
        LabError: Something does not die, which means that the kernel holds it.
    """
    leaders = group_pids(groups)
    if not leaders:
        return
    with suppress(ProcessLookupError):
        os.kill(_eldest(leaders), signal.SIGTERM)
    if wait_for(lambda: not group_pids(groups), GRACE_S):
        return

    def killed() -> bool:
        left = group_pids(groups)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    if not wait_for(killed, KILL_S):
        raise LabError("processes of the lab do not end", where=", ".join(map(str, group_pids(groups))))


def started_at(pids: Sequence[int]) -> float | None:
    """When the first of these processes was started, as Unix time; none if none is alive."""
    ticks = [started for started in map(_start_ticks, pids) if started is not None]
    if not ticks:
        return None
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - uptime + min(ticks) / os.sysconf("SC_CLK_TCK")


def _eldest(pids: Sequence[int]) -> int:
    """The process that was started first: pids wrap around, start times do not."""
    ticks = {pid: _start_ticks(pid) for pid in pids}
    return min(pids, key=lambda pid: float("inf") if ticks[pid] is None else float(ticks[pid] or 0))


def _start_ticks(pid: int) -> int | None:
    """Clock ticks between the machine's boot and the start of a process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return None


def trees() -> list[Path]:
    """The trees in which a twin needs a group: the unified one, and systemd's own on a hybrid machine.

    Raises:
        LabError: There is no unified tree.
    """
    unified = _unified_tree()
    if unified is None:
        raise LabError(
            "this machine has no unified control group tree (cgroup v2), which systemd in a twin needs",
            hint="Mount it: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
        )
    return [tree for tree in (unified, ROOT / "systemd") if tree.is_dir()]


def _unified_tree() -> Path | None:
    for tree in (ROOT, ROOT / "unified"):
        if (tree / "cgroup.controllers").exists():
            return tree
    return None


def _procs_files(group: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from group.rglob("cgroup.procs")


def remove_tree(group: Path) -> None:
    """Remove groups from the leaves up; their files vanish with them."""
    for folder, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until a condition holds; false when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.03)
    return True
