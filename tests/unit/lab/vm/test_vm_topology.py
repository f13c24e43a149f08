"""How a machine of a profile is told to QEMU."""

from __future__ import annotations

from itertools import repeat

from boxwright.lab.vm.topology import LEAST_NODE_MIB, MOST_MIB, topology
from boxwright.model.hardware import Cpu, Hardware

LAB = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=4)
SERVER = Hardware(
    cpu=Cpu(sockets=2, cores_per_socket=64, threads_per_core=2), numa_nodes=2, memory_gib=1024, disk_gib=100
)


def told(hardware: Hardware, processors: int) -> str:
    return " ".join(topology(hardware, processors).arguments(repeat("memory-backend-ram")))


def test_a_machine_that_fits_is_given_whole() -> None:
    shape = topology(LAB, 2)
    assert shape.whole
    assert "-smp 2,sockets=1,cores=2,threads=1 -m 4096M" in told(LAB, 2)
    assert "node,nodeid=0,cpus=0-1,memdev=node0" in told(LAB, 2)


def test_a_big_machine_keeps_its_sockets_and_nodes() -> None:
    shape = topology(SERVER, 2)
    assert not shape.whole
    assert (shape.shape.cpu.sockets, shape.shape.cpu.cores_per_socket, shape.shape.numa_nodes) == (2, 1, 2)
    words = told(SERVER, 2)
    assert f"-m {MOST_MIB}M" in words
    assert "memory-backend-ram,id=node1,size=2048M" in words
    assert "dist,src=0,dst=1,val=21" in words
    assert "dist,src=1,dst=1,val=10" in words


def test_every_node_has_a_processor_and_memory() -> None:
    eight = SERVER.model_copy(update={"numa_nodes": 8})
    shape = topology(eight, 2)
    assert shape.shape.cpu.cores == 8
    assert shape.mib_per_node == LEAST_NODE_MIB
    assert "dist,src=0,dst=3,val=12" in told(eight, 2)
    assert "dist,src=0,dst=4,val=21" in told(eight, 2)


def test_threads_of_a_core_are_neighbours_as_qemu_counts() -> None:
    words = told(SERVER, 8)
    assert "-smp 8,sockets=2,cores=2,threads=2" in words
    assert "node,nodeid=0,cpus=0-3,memdev=node0" in words
    assert "node,nodeid=1,cpus=4-7,memdev=node1" in words


def test_a_machine_without_the_memory_is_not_whole() -> None:
    assert not topology(LAB.model_copy(update={"memory_gib": 64}), 2).whole
