"""The command line of a VM twin. Pure: nothing here runs anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from boxwright.lab.vm.topology import Topology

Accelerator = Literal["kvm", "tcg"]
# What the processor shows. Page tables of five levels only cost time where they are emulated; an emulated AMD processor
# tells each of its cores as a socket, and would have guests load modules for VMs of their own.
_PROCESSOR: dict[Accelerator, str] = {"kvm": "host", "tcg": "max,la57=off,svm=off,vendor=GenuineIntel"}
_ACCELERATOR: dict[Accelerator, str] = {"kvm": "kvm", "tcg": "tcg,thread=multi"}
SEED_PORT = "boxwright.seed"
# Without mitigations: each system call of an emulated processor would empty the cache of its page tables, which made
# them thirty times as slow.
KERNEL_ARGUMENTS = "root=/dev/vda rw console=ttyS0 net.ifnames=0 panic=-1 mitigations=off boxwright.seed"


@dataclass(frozen=True)
class Port:
    """A network port: QEMU's `-netdev` without its id, and the hardware address."""

    network: str
    mac: str


def command(
    topology: Topology,
    accelerator: Accelerator,
    *,
    image: Path,
    disk: Path,
    qmp: int | str,
    seed: int | str,
    memory: Iterator[str],
    port: Port,
) -> list[str]:
    """The command that runs a VM.

    QEMU ends where the guest reboots: the next boot may be by another command line of the kernel.
    A frozen machine resumes only in one of the same devices in the same order, so all VMs come from here.

    Args:
        topology: Processors and memory.
        accelerator: Whether the processor runs the guest, or QEMU emulates it.
        image: The folder of kernel and initramfs.
        disk: The disk.
        qmp: Descriptor of the socket by which QEMU is spoken to.
        seed: Descriptor of the socket by which the guest is spoken to.
        memory: Where the memory of each node comes from.
        port: The network port.
    """
    return [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "q35,vmport=off,hpet=off", "-accel", _ACCELERATOR[accelerator]),
        *("-cpu", _PROCESSOR[accelerator]),
        *topology.arguments(memory),
        *("-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd"), "-append", KERNEL_ARGUMENTS),
        *("-drive", f"if=none,id=disk,file={disk},format=qcow2,cache=unsafe,discard=unmap"),
        *("-device", "virtio-blk-pci,drive=disk,serial=boxwright"),
        *("-netdev", f"{port.network},id=net", "-device", f"virtio-net-pci,netdev=net,mac={port.mac},romfile="),
        *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
        *("-chardev", f"socket,id=seed,fd={seed}"),
        *("-device", f"virtserialport,chardev=seed,name={SEED_PORT}"),
        *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
        *("-chardev", f"socket,id=qmp,fd={qmp}", "-mon", "chardev=qmp,mode=control"),
    ]
