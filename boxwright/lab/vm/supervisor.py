"""The process behind a running VM twin: goes on from the frozen machine once, boots from the twin's own disk later.

    python -m boxwright.lab.vm.supervisor ORDER.json

It lives in the namespace of the lab's bridge and in the twin's control group. Standard library only.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from boxwright.lab.vm.wires import Vm

QMP, SEED = "@QMP@", "@SEED@"  # in a command: where the descriptors go, which nobody knows beforehand
_REBOOT = "guest-reset"  # QEMU's word for it
_RESUME_S = 120.0
_SEED_S = 300.0  # for the guest to become itself; emulated, and beside others, it may be slow


@dataclass(frozen=True)
class Order:
    """What to run. Written by the lab, read by the supervisor."""

    resume: tuple[str, ...]  # the command in which the frozen machine goes on
    boot: tuple[str, ...]  # the command that boots the twin's disk
    state: str  # of the frozen machine
    frozen_disk: str
    disk: str  # what the twin wrote
    archive: str  # what makes the twin itself
    born: str  # a file that says that it was made itself
    kernel_arguments: str  # a file of the kernel's command line, once the twin has chosen one

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def load(cls, text: str) -> Order:
        """From JSON."""
        values = json.loads(text)
        return cls(**{**values, "resume": tuple(values["resume"]), "boot": tuple(values["boot"])})


def main(order_file: str) -> int:
    """Run a twin until it powers off or the lab ends it."""
    os.umask(0o077)
    order = Order.load(Path(order_file).read_text())
    signal.signal(signal.SIGTERM, _leave)
    reason = _run(order, fresh=not Path(order.born).exists())
    while reason == _REBOOT:
        reason = _run(order, fresh=False)
    _say(f"power off: {reason or 'QEMU ended'}")
    return 0


def _run(order: Order, *, fresh: bool) -> str:
    """Run the machine until it is powered off or wants to reboot; returns why it ended."""
    vm = _resume(order) if fresh else _start(_boot_command(order))
    try:
        if fresh:
            _seed(vm, order)
        threading.Thread(target=_listen, args=(vm, order), daemon=True).start()
        vm.process.wait()
        return vm.qmp.shutdown_reason()
    finally:
        vm.end()


def _boot_command(order: Order) -> tuple[str, ...]:
    """The command that boots the disk, with the kernel's command line that the twin last asked for."""
    chosen = Path(order.kernel_arguments)
    if not chosen.exists():
        return order.boot
    place = order.boot.index("-append") + 1
    return (*order.boot[:place], chosen.read_text(), *order.boot[place + 1 :])


def _listen(vm: Vm, order: Order) -> None:
    """Keep what the twin asks for as its kernel's command line: we are its boot loader."""
    vm.seed.settimeout(None)
    with suppress(OSError):
        for line in vm.seed.makefile("rb"):
            word, _, rest = line.decode(errors="replace").strip().partition(" ")
            if word == "cmdline" and rest:
                draft = Path(f"{order.kernel_arguments}.draft")
                draft.write_text(rest)
                draft.replace(order.kernel_arguments)


def _leave(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


def _start(command: tuple[str, ...]) -> Vm:
    _say("power on")
    return Vm(lambda qmp, seed: _filled(command, qmp, seed), environment={"PATH": os.environ["PATH"]})


def _resume(order: Order) -> Vm:
    """Go on from the frozen machine, with an empty layer over its disk: what a killed birth wrote is half-made."""
    Path(order.disk).unlink(missing_ok=True)
    layer = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", order.frozen_disk, order.disk]
    subprocess.run(layer, check=True)
    vm = _start((*order.resume, "-incoming", "defer"))
    vm.qmp.run("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])
    vm.qmp.run("migrate-incoming", uri=f"exec:cat {order.state}")
    vm.qmp.migrated(_RESUME_S)
    vm.qmp.run("cont")
    return vm


def _seed(vm: Vm, order: Order) -> None:
    vm.give(Path(order.archive).read_bytes())
    told = vm.line(_SEED_S)
    if told != b"done\n":
        raise SystemExit(f"The guest could not become itself: {told.decode(errors='replace').strip()}")
    Path(order.born).touch()
    with suppress(FileNotFoundError):
        Path(order.archive).unlink()  # it holds the host key, which the twin has now
    _say("is itself")


def _filled(command: tuple[str, ...], qmp: int, seed: int) -> list[str]:
    return [word.replace(QMP, str(qmp)).replace(SEED, str(seed)) for word in command]


def _say(text: str) -> None:
    print(f"[boxwright {time.strftime('%FT%T')}] {text}", flush=True)  # noqa: T201 (the twin's console log)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
