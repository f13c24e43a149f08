"""How a machine of a profile looks as a VM of this controller: sockets, nodes, memory, distances. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from boxwright.lab.hardware_view import cpu_list, cpus_by_node, distance
from boxwright.model.hardware import Cpu, Hardware

MOST_MIB = 4096  # of memory; what the profile's model and chat page need is below 1 GiB
LEAST_NODE_MIB = 512


@dataclass(frozen=True)
class Topology:
    """What QEMU is told of processors and memory.

    `shape` is the profile's machine with fewer cores and less memory where this controller is smaller: the same
    sockets, the same NUMA nodes. `whole` says that nothing had to be left out.
    """

    shape: Hardware
    whole: bool

    @property
    def mib_per_node(self) -> int:
        """Memory of each NUMA node, in MiB."""
        return int(self.shape.memory_gib * 1024) // self.shape.numa_nodes

    def processors_by_node(self) -> list[list[int]]:
        """The processors of each node as QEMU counts them: the threads of a core one after the other."""
        cores, threads = self.shape.cpu.cores, self.shape.cpu.threads_per_core
        return [
            sorted((number % cores) * threads + number // cores for number in placed)
            for placed in cpus_by_node(self.shape)
        ]

    def arguments(self, memory: Iterator[str]) -> list[str]:
        """The options of QEMU.

        Args:
            memory: Where the memory of each node comes from: an object of QEMU without its `id` and `size`.
        """
        cpu, nodes = self.shape.cpu, self.shape.numa_nodes
        total = cpu.cores * cpu.threads_per_core
        counts = f"sockets={cpu.sockets},cores={cpu.cores_per_socket},threads={cpu.threads_per_core}"
        words = ["-smp", f"{total},{counts}", "-m", f"{self.mib_per_node * nodes}M"]
        for node, cpus in enumerate(self.processors_by_node()):
            kind, _, options = next(memory).partition(",")
            words += ["-object", f"{kind},id=node{node},size={self.mib_per_node}M" + (f",{options}" if options else "")]
            listed = "".join(f",cpus={part}" for part in cpu_list(cpus).split(","))
            words += ["-numa", f"node,nodeid={node}{listed},memdev=node{node}"]
        for one in range(nodes):
            for other in range(nodes):
                words += ["-numa", f"dist,src={one},dst={other},val={distance(self.shape, one, other)}"]
        return words


def topology(hardware: Hardware, processors: int) -> Topology:
    """The VM of a machine.

    Args:
        hardware: The contract of the machine.
        processors: What this controller has; a VM has no more, but one core for each socket and each node.
    """
    cpu, nodes = hardware.cpu, hardware.numa_nodes
    threads = cpu.threads_per_core if cpu.sockets * cpu.threads_per_core <= processors else 1
    fewest = -(-max(nodes, cpu.sockets) // cpu.sockets)
    cores = min(cpu.cores_per_socket, max(fewest, processors // (cpu.sockets * threads)))
    mib = max(nodes * LEAST_NODE_MIB, min(int(hardware.memory_gib * 1024), MOST_MIB))
    small = Cpu(sockets=cpu.sockets, cores_per_socket=cores, threads_per_core=threads)
    shape = Hardware(cpu=small, numa_nodes=nodes, memory_gib=mib / 1024, disk_gib=hardware.disk_gib)
    whole = small == cpu.model_copy(update={"model": "", "isa": ()}) and mib == int(hardware.memory_gib * 1024)
    return Topology(shape, whole)
