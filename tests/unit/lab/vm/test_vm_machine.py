"""What a VM twin is given, without running one."""

from __future__ import annotations

import io
import json
import socket
import tarfile
from itertools import repeat
from pathlib import Path

import pytest

from boxwright.errors import BadInputError
from boxwright.lab import TwinSpec
from boxwright.lab.network import LabNetwork
from boxwright.lab.places import TwinPlaces
from boxwright.lab.rootfs import recipe
from boxwright.lab.vm.image import guest_files
from boxwright.lab.vm.machine import make, views_of
from boxwright.lab.vm.qemu import KERNEL_ARGUMENTS, SEED_PORT, Port, command
from boxwright.lab.vm.qmp import Qmp, QmpError
from boxwright.lab.vm.supervisor import Order
from boxwright.lab.vm.topology import topology
from boxwright.model.hardware import Accelerator, Cpu, Hardware
from boxwright.model.site import Mirrors

LAB = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=4)
CARDS = Hardware(
    cpu=Cpu(sockets=2, cores_per_socket=32),
    numa_nodes=2,
    memory_gib=512,
    accelerators=(Accelerator(name="NVIDIA H20", pci_id="10de:2329", count=8, memory_gib=96),),
    disk_gib=10,
)
HELLO = {"cpuinfo": "processor\t: 0\nflags\t\t: fpu\n\n", "meminfo": "MemTotal: 4000000 kB\n"}
MIRRORS = Mirrors(debian="http://mirror.example/debian", debian_security="http://mirror.example/security")


def qemu(way: str = "tcg") -> list[str]:
    return command(
        topology(LAB, 2),
        way,  # type: ignore[arg-type]
        image=Path("/image"),
        disk=Path("/twin/disk.qcow2"),
        qmp="@QMP@",
        seed="@SEED@",
        memory=repeat("memory-backend-ram"),
        port=Port("tap,ifname=twin10,script=no,downscript=no", "02:62:77:00:03:0a"),
    )


def test_qemu_boots_our_kernel_on_the_twins_disk_and_port() -> None:
    words = qemu()
    assert words[words.index("-kernel") + 1] == "/image/vmlinuz"
    assert words[words.index("-append") + 1] == KERNEL_ARGUMENTS
    assert "if=none,id=disk,file=/twin/disk.qcow2,format=qcow2,cache=unsafe,discard=unmap" in words
    assert "tap,ifname=twin10,script=no,downscript=no,id=net" in words
    assert any(word.endswith("mac=02:62:77:00:03:0a,romfile=") for word in words)


def test_emulated_processors_are_not_those_of_kvm() -> None:
    assert "kvm" in qemu("kvm")
    assert "kvm" not in qemu()


def test_guest_and_qemu_agree_on_the_seed_port() -> None:
    agent = guest_files()["usr/lib/boxwright-twin/seed-agent"][0].read_text()
    assert f"/dev/virtio-ports/{SEED_PORT}" in agent
    unit = guest_files()["etc/systemd/system/boxwright-twin-seed.service"][0].read_text()
    assert "ConditionKernelCommandLine=boxwright.seed" in unit
    assert "boxwright.seed" in KERNEL_ARGUMENTS.split()


def test_a_machine_that_fits_shows_nothing_simulated() -> None:
    assert views_of(LAB, topology(LAB, 2), HELLO) == {}


def test_cards_and_a_bigger_machine_are_shown_as_views() -> None:
    views = views_of(CARDS, topology(CARDS, 2), HELLO)
    assert {path.partition("/")[0] for path in views} == {"pci", "node", "cpu", "cpuinfo", "meminfo"}
    assert sum(path.endswith("/device") for path in views) == 8


def test_a_twin_is_given_its_names_keys_and_address(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "hello.json").write_text(json.dumps(HELLO))
    (base / "image").write_text("/image")
    places = TwinPlaces(tmp_path / "twin")
    spec = TwinSpec("box", "debian-12", CARDS, kind="vm")
    make(places, spec, LabNetwork("x", 3), 10, base=base, vendors=tmp_path, public_key="ssh-ed25519 AAAA\n")
    order = Order.load((places.root / "order.json").read_text())
    assert any(f"mem-path={base}/node1.ram,share=off" in word for word in order.resume)
    assert not any("mem-path" in word for word in order.boot)
    assert (places.root / "seed.tar").stat().st_mode & 0o077 == 0
    with tarfile.open(fileobj=io.BytesIO((places.root / "seed.tar").read_bytes())) as tar:
        members = {entry.name: entry for entry in tar}
        network = tar.extractfile("etc/systemd/network/10-twin.network")
        assert network is not None
        assert "Address=10.83.3.10/24" in network.read().decode()
        notice = tar.extractfile("etc/boxwright-twin")
        assert notice is not None
        text = notice.read().decode()
    assert "Simulated" in text
    assert "NUMA nodes             /sys" in text
    assert members["etc/ssh/ssh_host_ed25519_key"].mode & 0o077 == 0
    assert members["root/.ssh/authorized_keys"].uid == 0
    assert "var/lib/boxwright-twin/views/meminfo" in members


def test_a_vm_has_no_disk_in_memory() -> None:
    with pytest.raises(BadInputError, match="one disk of its own"):
        TwinSpec("box", "debian-12", LAB, kind="vm", disk_mib=10)


def test_a_kernel_makes_another_tree_and_leaves_the_containers_alone() -> None:
    plain, kernel = recipe("debian-12", MIRRORS), recipe("debian-12", MIRRORS, kernel=True)
    assert plain.initramfs_modules == ()
    assert "linux-image-cloud-amd64" in kernel.packages
    assert plain.digest != kernel.digest


def test_qmp_passes_over_events_and_tells_refusals() -> None:
    ours, its = socket.socketpair()
    its.sendall(
        b'{"QMP": {}}\n{"return": {}}\n{"event": "STOP"}\n{"return": {"status": "paused"}}\n{"error": {"desc": "no"}}\n'
    )
    with Qmp(ours) as qmp:
        assert qmp.status() == "paused"
        with pytest.raises(QmpError, match="cont: no"):
            qmp.run("cont")
        its.close()
        with pytest.raises(QmpError):
            qmp.run("cont")
