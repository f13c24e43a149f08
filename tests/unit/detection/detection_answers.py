"""Answers of the probe, framed as the probe frames them, for machines made by hand."""

from __future__ import annotations

import base64
from pathlib import Path

from boxwright.detection.collect import machine_of
from boxwright.detection.machine import Machine
from boxwright.model.catalogues import load_accelerators

FIXTURES = Path(__file__).with_name("fixtures")
MARK = "@mark"
NOW = 1_795_000_000.0
CATALOGUE = load_accelerators()

RTX_4090, RTX_4090D, V100, BMC, NVSWITCH = "10de:2684", "10de:2685", "10de:1db6", "1a03:2000", "10de:22a3"
_KIND = {BMC: "0x030000", NVSWITCH: "0x068000", V100: "0x030200"}


def recorded(name: str) -> str:
    return (FIXTURES / "recorded" / name).read_text()


def by_hand(name: str) -> str:
    return (FIXTURES / "made_by_hand" / name).read_text()


def section(name: str, output: str | bytes, code: int = 0, said: str = "") -> str:
    raw = output if isinstance(output, bytes) else output.encode()
    whole = raw + b"\0" + str(code).encode() + b"\0" + said.encode()
    return f"\n{MARK} begin {name}\n{base64.encodebytes(whole).decode()}{MARK} end\n"


def pci_line(
    slot: str, pci_id: str, node: int = 0, *, width: int = 16, speed: str = "16.0 GT/s PCIe", kind: str = ""
) -> str:
    vendor, device = pci_id.split(":")
    kind = kind or _KIND.get(pci_id, "0x030000")
    cells = (slot, kind, f"0x{vendor}", f"0x{device}", "0x1458", "0x40bf", str(node), "2.5 GT/s PCIe", speed)
    return "\t".join((*cells, str(width), "16", "nvidia")) + "\n"


def eight_4090() -> dict[str, str]:
    """A box with eight 4090s on two nodes, as the probe would tell of it."""
    cards = [pci_line(f"0000:{16 + number:02x}:00.0", RTX_4090, number // 4) for number in range(8)]
    gib = 1024 * 1024
    return {
        "os_release": recorded("os-release"),
        "kernel": "release\t6.1.0-26-amd64\ninstalled\t6.1.0-26-amd64\tyes\ninstalled\t6.1.0-31-amd64\tno\n",
        "modules": "loaded\tnvidia\t580.95.05\nnvidia_license\tDual MIT/GPL\n",
        "secure_boot": "   6   0   0   0   1\n",
        "system": "sys_vendor\tASRockRack\nproduct_name\t4U8G\nproduct_serial\tTo be filled by O.E.M.\n",
        "nodes": f"0\t0-47\t10 21\tNode 0 MemTotal: {64 * gib} kB\n1\t48-95\t21 10\tNode 1 MemTotal: {64 * gib} kB\n",
        "pci": "".join([pci_line("0000:02:00.0", BMC), *cards]),
        "nics": "eth0\t0000:03:00.0\t1\t10000\n",
        "memory_total": f"MemTotal: {128 * gib} kB\n",
        "packages": "nvidia-driver-cuda\t580.95.05-1\thi \ndocker-ce\t5:28.0\tii \ncuda-old\t\tun \n",
        "programs": "docker\t/usr/bin/docker\n",
        "lspci": recorded("lspci.txt"),
        "lscpu": by_hand("lscpu-old-flat-dual-socket.json"),
        "dmidecode": by_hand("dmidecode-2-of-8-channels.txt"),
        "ip": recorded("ip-addr.json"),
        "ports": recorded("ss.txt"),
        "dpkg_audit": "",
        "clock": "NTPSynchronized=yes\nNTP=yes\nTimezone=Etc/UTC\n",
        "time": f"{NOW:.0f}\n",
        "df": recorded("df.txt"),
        "lsblk": by_hand("lsblk-raid.json"),
    }


def answer(outputs: dict[str, str]) -> str:
    return "".join(section(name, output) for name, output in outputs.items()) + f"{MARK} done\n"


def machine(**changes: str) -> Machine:
    """The box with eight 4090s, with some of its sections replaced."""
    return machine_of("box", answer(eight_4090() | changes), MARK, CATALOGUE, now=NOW)
