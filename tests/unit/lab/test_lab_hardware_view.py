from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.lab import hardware_view as view
from boxwright.lab.firmware_view import firmware_tables
from boxwright.model.hardware import Accelerator, Cpu, Dimms, Hardware, Nic

H20 = Accelerator(name="NVIDIA H20", pci_id="10de:2329", count=8, memory_gib=96)
RTX4090 = Accelerator(name="GeForce RTX 4090", pci_id="10de:2684", count=8, memory_gib=24)
BOX = Hardware(
    cpu=Cpu(sockets=2, cores_per_socket=4, threads_per_core=2, model="Example CPU"),
    numa_nodes=2,
    memory_gib=64,
    accelerators=(H20,),
    disk_gib=100,
)


def test_configuration_space_is_what_lspci_reads() -> None:
    config = view.pci_config(0x10DE, 0x2329, 0x030200)
    assert len(config) == 256
    assert struct.unpack_from("<HH", config) == (0x10DE, 0x2329)
    assert config[0x09:0x0C] == bytes([0x00, 0x02, 0x03])  # interface, subclass, class
    assert config[0x0E] == 0  # an ordinary header, not a bridge
    assert struct.unpack_from("<H", config, 0x06)[0] & 0x10 == 0  # no capability list to follow


def test_cards_are_spread_over_the_nodes_and_say_so() -> None:
    files = view.pci_devices(BOX)
    slots = sorted({path.split("/")[0] for path in files})
    nodes = [files[f"{slot}/numa_node"] for slot in slots]
    assert nodes == [b"0\n"] * 4 + [b"1\n"] * 4
    assert files[f"{slots[7]}/local_cpulist"] == b"4-7,12-15\n"


def test_cards_with_a_screen_are_vga_controllers() -> None:
    assert view.pci_class(RTX4090) == 0x030000
    assert view.pci_class(H20) == 0x030200
    assert view.pci_class(Accelerator(name="910B", pci_id="19e5:d802", count=1, memory_gib=64)) == 0x120000


def test_numa_nodes_share_processors_and_memory() -> None:
    files = view.numa_nodes(BOX)
    assert files["node1/cpulist"] == b"4-7,12-15\n"
    assert files["node1/cpumap"] == b"0000f0f0\n"
    assert files["node0/distance"] == b"10 21\n"
    assert f"{32 * 1024 * 1024} kB".encode() in files["node0/meminfo"]
    assert b"Node 1 Active(file):          0 kB\n" in files["node1/meminfo"]  # engines look for it


def test_nodes_of_one_socket_are_near() -> None:
    split = BOX.model_copy(update={"numa_nodes": 4})
    assert view.numa_nodes(split)["node0/distance"] == b"10 12 21 21\n"


def test_threads_of_a_core_know_each_other() -> None:
    files = view.processors(BOX.cpu)
    assert files["online"] == b"0-15\n"
    assert files["cpu5/topology/thread_siblings_list"] == b"5,13\n"
    assert files["cpu13/topology/physical_package_id"] == b"1\n"
    assert "cpu0/online" not in files


def test_cpuinfo_keeps_flags_and_renumbers() -> None:
    real = "processor\t: 0\nmodel name\t: Real\nflags\t\t: fpu avx2\ncore id\t\t: 9\n\nprocessor\t: 1\n\n"
    blocks = view.cpuinfo(BOX.cpu, real).decode().strip().split("\n\n")
    assert len(blocks) == 16
    assert blocks[15].splitlines() == [
        "processor\t: 15",
        "model name\t: Example CPU",
        "flags\t\t: fpu avx2",
        "core id\t\t: 3",
    ]


def test_cpuinfo_shows_what_the_contract_asks_for() -> None:
    real = "processor\t: 0\nflags\t\t: fpu avx2\n\n"
    asked = BOX.cpu.model_copy(update={"isa": ("avx2", "amx_int8")})
    assert "flags\t\t: fpu avx2 amx_int8" in view.cpuinfo(asked, real).decode().splitlines()


@given(st.sets(st.integers(0, 200), min_size=1))
def test_lists_and_masks_name_the_same_processors(cpus: set[int]) -> None:
    listed: set[int] = set()
    for part in view.cpu_list(cpus).split(","):
        first, _, last = part.partition("-")
        listed |= set(range(int(first), int(last or first) + 1))
    mask = int(view.cpu_mask(cpus, 201).replace(",", ""), 16)
    assert listed == cpus == {bit for bit in range(224) if mask >> bit & 1}


@given(
    sockets=st.integers(1, 8),
    cores=st.integers(1, 32),
    threads=st.integers(1, 2),
    nodes=st.integers(1, 64),
    cards=st.integers(1, 64),
)
def test_every_machine_has_each_processor_and_card_once(
    sockets: int, cores: int, threads: int, nodes: int, cards: int
) -> None:
    cpu = Cpu(sockets=sockets, cores_per_socket=cores, threads_per_core=threads)
    card = H20.model_copy(update={"count": cards})
    box = Hardware(cpu=cpu, numa_nodes=nodes, memory_gib=8, accelerators=(card,), disk_gib=1)
    placed = [number for node in view.cpus_by_node(box) for number in node]
    assert sorted(placed) == list(range(cpu.cores * threads))
    slots = {path.split("/")[0] for path in view.pci_devices(box)}
    assert len(slots) == cards
    assert all(len(slot) == len("0000:00:00.0") for slot in slots)


def test_a_machine_without_cards_shows_none() -> None:
    assert view.pci_devices(BOX.model_copy(update={"accelerators": ()})) == {}


@pytest.mark.parametrize("name", ["pci", "node", "cpu"])
def test_all_views_are_one_folder_each(name: str) -> None:
    assert any(path.startswith(f"{name}/") for path in view.all_views(BOX, "processor\t: 0\n\n", "MemTotal: 8 kB\n"))


def test_links_show_their_speed_and_width() -> None:
    card = RTX4090.model_copy(update={"pcie_generation": 4, "pcie_width": 8, "count": 1})
    files = view.pci_devices(BOX.model_copy(update={"accelerators": (card,)}))
    told = {path.split("/")[1]: content for path, content in files.items() if "link" in path}
    assert told == {
        "current_link_speed": b"16.0 GT/s PCIe\n",
        "max_link_speed": b"16.0 GT/s PCIe\n",
        "current_link_width": b"8\n",
        "max_link_width": b"16\n",
    }


def test_the_switches_of_a_fabric_and_network_cards_are_on_the_bus() -> None:
    nic = Nic(name="compute", kind="infiniband", count=2, gbit_s=400, pci_id="15b3:1021")
    files = view.pci_devices(BOX.model_copy(update={"fabric_switches": 4, "nics": (nic,)}))
    kinds = [content.strip() for path, content in files.items() if path.endswith("/class")]
    assert kinds.count(b"0x030200") == 8
    assert kinds.count(b"0x068000") == 4
    assert kinds.count(b"0x020700") == 2


def test_memory_is_the_contracts_and_the_rest_is_real() -> None:
    real = "MemTotal:       1024 kB\nMemFree:         100 kB\nMemAvailable:    512 kB\nSwapTotal:         7 kB\n"
    told = view.meminfo(BOX, real).decode().splitlines()
    assert told[0].split() == ["MemTotal:", str(64 * 1024 * 1024), "kB"]
    assert told[2].split() == ["MemAvailable:", str(64 * 1024 * 1024 - 512), "kB"]
    assert told[3].split() == ["SwapTotal:", "7", "kB"]


def test_firmware_tables_add_up() -> None:
    """What the real dmidecode reads in them is tested on twins."""
    box = BOX.model_copy(update={"memory_gib": 1536.0, "dimms": Dimms(count=24, gib=64, channels_per_socket=8)})
    tables = firmware_tables(box)
    entry, table = tables["smbios_entry_point"], tables["DMI"]
    assert sum(entry) % 256 == 0
    assert struct.unpack_from("<I", entry, 12) == (len(table),)
    assert table.count(b"_DIMM_") == 32  # two slots a channel, 24 of them filled
    assert table.count(struct.pack("<I", 64 * 1024)) == 24
