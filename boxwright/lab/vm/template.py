"""A machine that has booted, frozen just before it is told who it is: VM twins go on from there within seconds.

The frozen memory is a file, which all twins map and none changes: each keeps what it alone wrote.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from boxwright.errors import LabError
from boxwright.lab.commands import locked, remove_tree, run, tail
from boxwright.lab.places import vm_templates
from boxwright.lab.vm.qemu import Accelerator, Port, command
from boxwright.lab.vm.qmp import QmpError
from boxwright.lab.vm.topology import Topology
from boxwright.lab.vm.wires import SilenceError, Vm

_BOOT_S: dict[Accelerator, float] = {"kvm": 60.0, "tcg": 600.0}  # an emulated one took 20 s alone, and shares cores
_FIRST_WORD_S = 10.0
_FREEZE_S = 120.0
# A hub that nothing else is on. Unlike user networking it has no state of its own that a twin could not take over.
_NOWHERE = Port("hubport,hubid=0", "02:62:77:00:00:00")


@dataclass(frozen=True)
class Template:
    """A frozen machine in the cache."""

    root: Path

    @property
    def disk(self) -> Path:
        """The disk as the frozen machine has it; twins write to a layer over it."""
        return self.root / "disk.qcow2"

    @property
    def state(self) -> Path:
        """All of the machine but its memory."""
        return self.root / "state"

    @property
    def hello(self) -> dict[str, str]:
        """What the guest shows of itself: /proc/cpuinfo and /proc/meminfo."""
        return dict(json.loads((self.root / "hello.json").read_text()))

    @property
    def image(self) -> Path:
        """The image that it booted from: kernel and initramfs are needed again at a reboot."""
        return Path((self.root / "image").read_text())

    @property
    def accelerator(self) -> Accelerator:
        """What it was frozen under, and goes on under."""
        return "kvm" if (self.root / "kvm").exists() else "tcg"

    def memory(self, *, shared: bool = False) -> Iterator[str]:
        """Where QEMU finds the memory of each node. Shared is what is written to the file itself."""
        number = 0
        while True:
            yield f"memory-backend-file,mem-path={self.root}/node{number}.ram,share={'on' if shared else 'off'}"
            number += 1


def ensure(image: Path, topology: Topology, progress: Callable[[str], None]) -> Template:
    """Return the frozen machine of an image and a topology. What is not cached is booted once, and frozen.

    Raises:
        LabError: The machine does not boot here.
    """
    version = run(["qemu-system-x86_64", "--version"]).splitlines()[0]
    ways: tuple[Accelerator, ...] = ("kvm", "tcg") if os.access("/dev/kvm", os.R_OK | os.W_OK) else ("tcg",)
    for way in ways:
        template = Template(vm_templates() / _digest(image, topology, way, version))
        if template.root.is_dir():
            return template
        if way == "kvm" and _refused().exists():
            continue
        with locked(template.root.with_name(f".{template.root.name}.lock"), progress):
            if not template.root.is_dir() and not _made(template, image, topology, way, progress):
                continue
        return template
    raise LabError("no VM boots on this machine", where=str(vm_templates()))


def _made(
    template: Template, image: Path, topology: Topology, way: Accelerator, progress: Callable[[str], None]
) -> bool:
    """Make a template; false where KVM is there and does not do."""
    progress(f"Booting a VM under {_SAID[way]} and freezing it (once)")
    try:
        _build(template, image, topology, way)
    except (QmpError, SilenceError) as problem:
        if way == "kvm":
            progress(f"KVM is there and does not run the VM ({problem}): emulating it instead, which is slow")
            _refused().write_text(f"{problem}\n")
            remove_tree(_unfinished(template))
            return False
        console = _unfinished(template) / "console.log"
        raise LabError(
            f"the VM does not boot: {problem}", where=str(console), output=tail(console.read_text(errors="replace"))
        ) from problem
    return True


_SAID: dict[Accelerator, str] = {"kvm": "KVM", "tcg": "software emulation"}


def _digest(image: Path, topology: Topology, way: Accelerator, version: str) -> str:
    argv = command(
        topology,
        way,
        image=image,
        disk=Path("disk"),
        qmp=0,
        seed=0,
        memory=Template(Path("template")).memory(),
        port=_NOWHERE,
    )
    return hashlib.sha256("\0".join((version, *argv)).encode()).hexdigest()


def _refused() -> Path:
    """Says that KVM is there and runs no VM; until this machine is booted anew."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return vm_templates() / f".no-kvm-{boot}"


def _unfinished(template: Template) -> Path:
    return template.root.with_name(f"{template.root.name}.unfinished")


def _build(template: Template, image: Path, topology: Topology, way: Accelerator) -> None:
    draft = Template(_unfinished(template))
    if draft.root.exists():
        remove_tree(draft.root)
    draft.root.mkdir(parents=True)
    make_layer(image / "root.qcow2", draft.disk)
    vm = Vm(
        lambda qmp, seed: command(
            topology,
            way,
            image=image,
            disk=draft.disk,
            qmp=qmp,
            seed=seed,
            memory=draft.memory(shared=True),
            port=_NOWHERE,
        ),
        environment={"PATH": os.environ["PATH"]},
        console=draft.root / "console.log",
    )
    try:
        hello = vm.line(_BOOT_S[way], alive=_watch(vm, draft.root / "console.log", way))
        (draft.root / "hello.json").write_bytes(hello)
        vm.qmp.run("stop")
        freeze(vm, draft.state)
        vm.qmp.run("quit")
        vm.process.wait(timeout=_FREEZE_S)
    finally:
        vm.end()
    (draft.root / "image").write_text(str(image))
    if way == "kvm":
        (draft.root / "kvm").touch()
    os.rename(draft.root, template.root)  # noqa: PTH104 (says what it is: the one atomic step)


def freeze(vm: Vm, state: Path) -> None:
    """Write down a stopped machine; its memory is in its file already."""
    vm.qmp.run("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])
    vm.qmp.run("migrate", uri=f"exec:cat >{state}")
    vm.qmp.migrated(_FREEZE_S)


def _watch(vm: Vm, console: Path, way: Accelerator) -> Callable[[], None]:
    """Ends the wait for a machine that cannot come up. Where KVM is broken, some just stand still."""
    began = time.monotonic()

    def watch() -> None:
        status = vm.qmp.status()
        if status != "running":
            raise QmpError(f"the machine is {status}")
        if way == "kvm" and time.monotonic() - began > _FIRST_WORD_S and b"Linux version" not in console.read_bytes():
            raise QmpError(f"the kernel said nothing for {_FIRST_WORD_S:.0f} s")

    return watch


def make_layer(below: Path, layer: Path) -> None:
    """Make a disk that is as `below` until it is written to."""
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(below), str(layer)])
