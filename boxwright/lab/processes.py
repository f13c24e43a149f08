"""Processes that outlive the command that starts them, each in a control group of its own.

The control group is what makes clean-up certain: whatever a twin forked, ending the group ends it. Where
systemd is PID 1 a group belongs to a transient service, so that systemd does not meddle; elsewhere we make
the group ourselves, in the unified tree and, on a hybrid machine, in the tree of systemd's name as well.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from boxwright.lab import cgroups
from boxwright.lab.commands import run


class Processes(Protocol):
    """Starts, finds and ends the long-lived processes of one lab by name."""

    def start(self, name: str, argv: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> None:
        """Start a program, detached, with its output appended to `log`."""

    def stop(self, name: str) -> None:
        """End a program and all that it started; returns when they are gone."""

    def pids(self, name: str) -> list[int]:
        """Every process of this name's group; empty means that it does not run."""

    def remove(self) -> None:
        """Remove what is left of the lab's groups. Everything in them has ended."""


def for_lab(lab: str) -> Processes:
    """The way that fits this machine."""
    if Path("/run/systemd/system").is_dir():
        return ServiceProcesses(lab)
    return GroupProcesses(lab)


class GroupProcesses:
    """Control groups that we make ourselves: the machine's PID 1 is not systemd."""

    def __init__(self, lab: str) -> None:
        self._groups = [tree / "boxwright" / lab for tree in cgroups.trees()]

    def start(self, name: str, argv: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> None:
        """Start a program, detached, with its output appended to `log`."""
        groups = [group / name for group in self._groups]
        for group in groups:
            group.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            subprocess.Popen(
                cgroups.joining(groups, argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                cwd="/",
                start_new_session=True,
            )
        cgroups.wait_for(lambda: bool(self.pids(name)), 5)

    def stop(self, name: str) -> None:
        """End a program and all that it started; returns when they are gone."""
        groups = [group / name for group in self._groups]
        cgroups.end_group(groups)
        for group in groups:
            cgroups.remove_tree(group)

    def pids(self, name: str) -> list[int]:
        """Every process of this name's group; empty means that it does not run."""
        return cgroups.group_pids([group / name for group in self._groups])

    def remove(self) -> None:
        """Remove what is left of the lab's groups."""
        for group in self._groups:
            cgroups.remove_tree(group)
            with suppress(OSError):
                group.parent.rmdir()  # stays while another lab has a group there


class ServiceProcesses:
    """Transient systemd services, each with a delegated control group."""

    def __init__(self, lab: str) -> None:
        self._lab = lab

    def unit(self, name: str) -> str:
        """The name of the service."""
        return f"boxwright.{self._lab}.{name}.service"

    def start(self, name: str, argv: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> None:
        """Start a program as a transient service, with its output appended to `log`."""
        run(
            [
                *("systemd-run", "--quiet", "--collect", f"--unit={self.unit(name)}", "--service-type=exec"),
                *("--property=Delegate=yes", "--property=KillMode=mixed", "--property=TasksMax=infinity"),
                f"--property=TimeoutStopSec={cgroups.GRACE_S:.0f}s",
                *(f"--property={stream}=append:{log}" for stream in ("StandardOutput", "StandardError")),
                *(f"--setenv={key}={value}" for key, value in environment.items()),
                "--",
                *argv,
            ]
        )

    def stop(self, name: str) -> None:
        """End a service and all that it started; returns when they are gone."""
        if self.pids(name):
            run(["systemctl", "stop", self.unit(name)], timeout=cgroups.GRACE_S + cgroups.KILL_S)

    def pids(self, name: str) -> list[int]:
        """Every process of the service; empty means that it does not run."""
        shown = run(["systemctl", "show", "--property=ControlGroup", "--value", self.unit(name)]).strip()
        return cgroups.group_pids([cgroups.ROOT / shown.lstrip("/")]) if shown else []

    def remove(self) -> None:
        """Nothing is left: systemd collects a service with its group."""
