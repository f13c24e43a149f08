"""Each tool's output, recorded and made by hand, becomes typed values; what is not its output is refused."""

from __future__ import annotations

import pytest
from detection_answers import CATALOGUE, NVSWITCH, RTX_4090, RTX_4090D, V100, by_hand, pci_line, recorded

from boxwright.detection import disks, hardware, network, nvidia, pci, software
from boxwright.detection.machine import PcieLink
from boxwright.detection.sections import UnreadableError


def test_recorded_lscpu() -> None:
    cpu = hardware.processors(recorded("lscpu.json"))
    assert (cpu.model, cpu.sockets, cpu.cores_per_socket, cpu.threads_per_core) == ("AMD EPYC", 1, 2, 1)
    assert "avx2" in cpu.flags
    assert "amx_int8" not in cpu.flags


@pytest.mark.parametrize(
    ("name", "cores"), [("lscpu-old-flat-dual-socket.json", 24), ("lscpu-tree.json", 56)], ids=["flat", "tree"]
)
def test_lscpu_of_two_sockets(name: str, cores: int) -> None:
    cpu = hardware.processors(by_hand(name))
    assert (cpu.sockets, cpu.cores_per_socket, cpu.threads_per_core) == (2, cores, 2)


def test_lscpu_behind_a_banner() -> None:
    assert hardware.processors("*** {authorised} users [only] ***\n" + recorded("lscpu.json")).sockets == 1


@pytest.mark.parametrize(
    "text", ["", "{}", '{"lscpu": []}', "Sockel: 2", '{"lscpu": [{"field": "Socket(s):", "data": "-"}]}']
)
def test_what_is_no_lscpu(text: str) -> None:
    with pytest.raises(UnreadableError):
        hardware.processors(text)


def test_recorded_lsblk() -> None:
    (disk,) = disks.disks(recorded("lsblk.json"))
    assert (disk.name, disk.bytes, disk.holds_data) == ("/dev/vda", 274877906944, True)
    assert "/" in disk.mounts


def test_lsblk_with_raid_and_an_empty_disk() -> None:
    system, empty, models = disks.disks(by_hand("lsblk-raid.json"))
    assert (system.mounts, system.holds_data) == (("/",), True)
    assert (empty.bytes, empty.holds_data, empty.rotational) == (960197124096, False, False)
    assert (models.transport, models.holds_data) == ("nvme", False)


def test_the_root_counts_on_whatever_it_lies_and_a_mounted_file_does_not() -> None:
    (root,) = disks.file_systems(recorded("df-container-twin.txt"))
    assert (root.mount, root.free_bytes) == ("/", 82755846144)


def test_recorded_df() -> None:
    (root,) = disks.file_systems(recorded("df.txt"))
    assert (root.device, root.mount) == ("/dev/vda", "/")
    assert root.bytes > root.free_bytes > 0


def test_recorded_interfaces() -> None:
    (nic,) = network.nics(recorded("ip-addr.json"), {"eth0": (1, 10000)})
    assert (nic.name, nic.up, nic.mbit_s, nic.numa_node) == ("eth0", True, 10000, 1)
    assert "192.0.2.2/24" in nic.addresses


def test_recorded_ports() -> None:
    assert ("tcp", "0.0.0.0", 2024) in {
        (one.protocol, one.address, one.port) for one in network.listeners(recorded("ss.txt"))
    }


def test_recorded_os_release() -> None:
    found = software.operating_system(recorded("os-release"))
    assert (found.id, found.version) == ("debian", "12")


def test_recorded_lspci_names() -> None:
    assert pci.names(recorded("lspci.txt"))["0000:00:03.0"] == "Virtio 1.0 network device"


def test_dmidecode_without_firmware_is_refused() -> None:
    with pytest.raises(UnreadableError):
        hardware.dimms(recorded("dmidecode-without-firmware.txt"))


def test_memory_channels() -> None:
    dimms = hardware.dimms(by_hand("dmidecode-2-of-8-channels.txt"))
    assert [dimm.channel for dimm in dimms] == ["0A", "0B", "0C", "0D", "1A", "1B", "1C", "1D"]
    assert [(dimm.gib, dimm.kind, dimm.mt_s) for dimm in dimms if dimm.gib] == [(32, "DDR5", 4400)] * 2


@pytest.mark.parametrize(
    ("slot", "channel"),
    [
        ("P1-DIMMA1", "1A"),
        ("DIMM 0 P0 CHANNEL C", "0C"),
        ("CPU1_DIMM_H2", "1H"),
        ("DIMM_P0_A0", "0A"),
        ("CPU1_C11D0", "111"),
        ("DIMM 7 P1_Node0_Channel3_Dimm0", "13"),
        ("PROC 1 DIMM 12", None),
        ("A7", None),
        ("Slot 3", None),
    ],
)
def test_channels_by_the_slots_names(slot: str, channel: str | None) -> None:
    text = f"Handle 0x1\nMemory Device\n\tSize: 1 TB\n\tLocator: {slot}\n"
    (dimm,) = hardware.dimms(text)
    assert (dimm.gib, dimm.channel) == (1024, channel)


def test_what_a_maker_left_at_its_default_is_no_name() -> None:
    found = hardware.system("sys_vendor\tSupermicro\nproduct_name\tSystem Product Name\nproduct_serial\t0000000\n")
    assert (found.vendor, found.product, found.serial) == ("Supermicro", "", "")


def test_cards_by_class_and_id() -> None:
    text = "".join(
        (
            pci_line("0000:01:00.0", RTX_4090, 0),
            pci_line("0000:02:00.0", RTX_4090D, -1, width=8),
            pci_line("0000:03:00.0", V100, 1, speed="8.0 GT/s"),
            pci_line("0000:04:00.0", NVSWITCH),
            pci_line("0000:05:00.0", "1a03:2000"),  # a screen for the BMC
            pci_line("0000:06:00.0", "19e5:0222", kind="0x020000"),  # Huawei's network card is no Ascend
            pci_line("0000:07:00.0", "19e5:d802", kind="0x120000"),
            pci_line("0000:08:00.0", "1ed5:0327", kind="0x030200"),
            pci_line("0000:09:00.0", "8086:56c0", kind="0x038000"),
            "WARNUNG: nicht lesbar\n",
        )
    )
    found = pci.devices(text)
    cards = pci.accelerators(found, CATALOGUE, {"0000:08:00.0": "MTT S4000"})
    assert [card.name for card in cards] == [
        "GeForce RTX 4090",
        "GeForce RTX 4090 D",
        "Tesla V100 PCIe 32GB",
        "Ascend 910B (Atlas A2)",
        "Moore Threads MTT S4000",
    ]
    assert [card.recipe for card in cards] == [True, True, True, True, False]
    assert [card.numa_node for card in cards[:3]] == [0, -1, 1]
    assert cards[1].link == PcieLink(generation=1, max_generation=4, width=8, max_width=16)
    assert cards[2].link.max_generation == 3
    assert pci.fabric_switches(found, CATALOGUE) == 1


def test_a_width_of_a_card_that_is_gone_is_not_known() -> None:
    (card,) = pci.devices(pci_line("0000:01:00.0", RTX_4090, width=255))
    assert card.link.width is None


def test_mixed_cards_one_of_which_does_not_answer() -> None:
    driver = nvidia.driver("Welcome to box\n" + by_hand("nvidia-smi-mixed.xml"))
    assert (driver.version, driver.cuda) == ("580.95.05", "13.0")
    good, slow, lost = driver.gpus
    assert (good.slot, good.memory_mib, good.power_limit_w, good.serial, good.ecc) == (
        "0000:21:00.0",
        24564,
        450.0,
        None,
        None,
    )
    assert (slow.name, slow.link.width, slow.persistence) == ("NVIDIA GeForce RTX 4090 D", 8, False)
    assert (lost.memory_mib, lost.power_limit_w, lost.uuid, lost.link.width) == (None, None, None, None)
    assert lost.errors == ("uuid", "fb_memory_usage/total", "gpu_power_readings/current_power_limit")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", "NVIDIA-SMI has failed"),
        ("Failed to initialize NVML: Driver/library version mismatch\n", "version mismatch"),
        ("<nvidia_smi_log><gpu></nvidia_smi_log>", "broken XML"),
        ("<nvidia_smi_log>", "<nvidia_smi_log>"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><nvidia_smi_log>&a;</nvidia_smi_log>', "broken XML"),
        ("<nvidia_smi_log><!ENTITY a 'b'></nvidia_smi_log>", "declarations"),
        ("", "said nothing"),
    ],
)
def test_what_is_no_answer_of_nvidia_smi(text: str, why: str) -> None:
    with pytest.raises(UnreadableError, match=why):
        nvidia.driver(text)


@pytest.mark.parametrize(("text", "on"), [("   6   0   0   0   1\n", True), (" 6 0 0 0 0", False), ("bios\n", False)])
def test_secure_boot(text: str, on: bool) -> None:
    assert software.secure_boot(text) is on


@pytest.mark.parametrize("text", ["", "6 0 0 0 2", "1", "od: /sys/firmware: Datei nicht gefunden"])
def test_secure_boot_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UnreadableError):
        software.secure_boot(text)


def test_packages_that_are_installed_and_held() -> None:
    found = software.packages("nvidia-driver-cuda\t580.95.05-1\thi \ndocker-ce\t5:28.0\tii \ncuda-old\t1\trc \n")
    assert [(one.name, one.held) for one in found] == [("nvidia-driver-cuda", True), ("docker-ce", False)]


def test_the_clock_against_the_controller() -> None:
    found = software.clock("NTPSynchronized=no\nTimezone=Asia/Shanghai\n", "1000\n", 900.0)
    assert (found.synchronized, found.time_zone, found.offset_s) == (False, "Asia/Shanghai", 100.0)
