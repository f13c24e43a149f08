"""Making a VM twin: the archive that makes it itself, its commands, and the order to its supervisor."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from boxwright.lab import hardware_view
from boxwright.lab.commands import remove_tree
from boxwright.lab.hardware_view import Files
from boxwright.lab.machine import order_path, supervisor_environment, write_seed
from boxwright.lab.network import LabNetwork
from boxwright.lab.places import TwinPlaces
from boxwright.lab.record import record_of
from boxwright.lab.spec import TwinSpec
from boxwright.lab.supervisor import GUEST_VENDORS
from boxwright.lab.vm import image, template
from boxwright.lab.vm.qemu import Port, command
from boxwright.lab.vm.supervisor import QMP, SEED, Order
from boxwright.lab.vm.topology import Topology, topology
from boxwright.model.hardware import Hardware
from boxwright.model.site import Mirrors

__all__ = ["BOOT_S", "attach", "base_of", "detach", "make", "supervisor_command", "supervisor_environment"]

BOOT_S = 600.0  # for the first twin of a command: one that powered itself off boots, and an emulated boot is slow
_GUEST_VIEWS = "var/lib/boxwright-twin/views"

_NOTICE = """\
This host is a twin: a throw-away VM that stands in for a machine of its profile.
Real: kernel and its settings, boot and reboot, systemd, sshd, apt, nftables, control groups, the file system, sockets
and NUMA nodes. Fewer cores and less memory than the profile's where the controller is smaller.
{simulated}Simulated, where the profile has cards:
  vendors' packages      /srv/simulated-vendors (empty shells under the vendors' names; they drive nothing)
"""
_SIMULATED = {
    "pci": "PCI devices            /sys/bus/pci/devices, beside the VM's own (no device answers; there is no GPU)",
    "cpu": "processors             /sys/devices/system/cpu, /proc/cpuinfo (the true number: taskset -p 1)",
    "node": "NUMA nodes             /sys/devices/system/node",
    "meminfo": "memory                 /proc/meminfo (does not move)",
    "firmware": "memory modules         /sys/firmware/dmi/tables",
}


def base_of(spec: TwinSpec, mirrors: Mirrors, progress: Callable[[str], None]) -> Path:
    """What the twin goes on from: a frozen machine of its distribution and topology."""
    return template.ensure(image.ensure(spec.distribution, mirrors, progress), _topology(spec.hardware), progress).root


def make(
    places: TwinPlaces,
    spec: TwinSpec,
    network: LabNetwork,
    octet: int,
    *,
    base: Path,
    vendors: Path,
    public_key: str,
) -> None:
    """Write everything of a new twin below its folder; the record comes last and atomically."""
    if places.root.exists():
        remove_tree(places.root)
    for folder in (places.root, places.seed):
        folder.mkdir(parents=True)
    places.root.chmod(0o700)
    frozen = template.Template(base)
    views = views_of(spec.hardware, _topology(spec.hardware), frozen.hello)
    further = {"etc/systemd/network/10-twin.network": _network_file(network, octet)}
    write_seed(places.seed, spec.name, public_key, _notice(views), further)
    archive = places.root / "seed.tar"
    archive.touch(mode=0o600)
    archive.write_bytes(_archive(places.seed, views, vendors if spec.vendors else None))
    disk = places.root / "disk.qcow2"
    port = Port(f"tap,ifname={network.port(octet)},script=no,downscript=no", network.hardware_address(octet))
    order = Order(
        resume=tuple(_command(spec, frozen, disk, port, frozen.memory())),
        boot=tuple(_command(spec, frozen, disk, port, _own_memory())),
        state=str(frozen.state),
        frozen_disk=str(frozen.disk),
        disk=str(disk),
        archive=str(archive),
        born=str(places.root / "born"),
        kernel_arguments=str(places.root / "cmdline"),
    )
    order_path(places).write_text(order.dump())
    record_of(spec, octet, base=str(base)).write(places)


def attach(network: LabNetwork, octet: int) -> None:
    """Connect the twin to the lab's network."""
    network.attach_tap(octet)


def detach(network: LabNetwork, octet: int) -> None:
    """Disconnect it."""
    network.detach(octet)


def supervisor_command(places: TwinPlaces, network: LabNetwork, octet: int) -> list[str]:
    """The command of a twin's supervisor, in the namespace of the bridge, where the twin's port is."""
    del octet
    python = [sys.executable, "-P", "-S", "-m", "boxwright.lab.vm.supervisor", str(order_path(places))]
    return ["nsenter", f"--net=/run/netns/{network.namespace}", *python]


def views_of(hardware: Hardware, shape: Topology, hello: dict[str, str]) -> Files:
    """The views of what the VM is not by itself: cards, and a bigger machine than this controller can emulate."""
    every = hardware_view.all_views(hardware, hello["cpuinfo"], hello["meminfo"])
    wanted = set()
    if any(hardware_view.bus(hardware)):
        wanted.add("pci")
    if hardware.dimms:
        wanted.add("firmware")
    if not shape.whole:
        wanted |= {"node", "cpu", "cpuinfo", "meminfo"}
    if hardware.cpu.isa or hardware.cpu.model:
        wanted |= {"cpu", "cpuinfo"}
    return {path: content for path, content in every.items() if path.partition("/")[0] in wanted}


def _topology(hardware: Hardware) -> Topology:
    return topology(hardware, os.cpu_count() or 1)


def _own_memory() -> Iterator[str]:
    while True:
        yield "memory-backend-ram"


def _command(spec: TwinSpec, frozen: template.Template, disk: Path, port: Port, memory: Iterator[str]) -> list[str]:
    return command(
        _topology(spec.hardware),
        frozen.accelerator,
        image=frozen.image,
        disk=disk,
        qmp=QMP,
        seed=SEED,
        memory=memory,
        port=port,
    )


def _notice(views: Files) -> str:
    shown = {path.partition("/")[0] for path in views}
    lines = [f"  {text}\n" for name, text in _SIMULATED.items() if name in shown]
    head = ["Simulated, as views generated from the profile:\n"] if lines else []
    return _NOTICE.format(simulated="".join((*head, *lines)))


def _network_file(network: LabNetwork, octet: int) -> str:
    """The port's address, and its hardware address: that of the frozen machine would be every twin's."""
    return (
        f"[Match]\nName=eth0\n\n[Link]\nMACAddress={network.hardware_address(octet)}\n\n"
        f"[Network]\nAddress={network.address(octet)}/24\nGateway={network.gateway}\nLinkLocalAddressing=no\n"
    )


def _archive(seed: Path, views: Files, vendors: Path | None) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as tar:
        for path in sorted(seed.rglob("*")):
            tar.add(path, str(path.relative_to(seed)), recursive=False, filter=_of_root)
        for name, content in views.items():
            entry = tarfile.TarInfo(f"{_GUEST_VIEWS}/{name}")
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
        if vendors is not None:
            tar.add(vendors, GUEST_VENDORS.lstrip("/"), filter=_of_root)
    return held.getvalue()


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
