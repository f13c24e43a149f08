"""A machine of QEMU that boots an image by UEFI, as a server does: on a lab's wire, with an address by DHCP."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from boxwright.lab.network import LabNetwork
from boxwright.lab.places import LabPlaces

FIRMWARE = Path("/usr/share/OVMF")  # Debian's package ovmf
SERIAL = "TEST-4711"
MAC = "02:62:77:ff:00:01"
_OCTET = 200
_LINE = re.compile(r"boxwright enroll: (.*SHA256:[A-Za-z0-9+/]{43})")


@dataclass
class Machine:
    """A running machine."""

    process: subprocess.Popen[bytes]
    console: Path
    address: str

    def said(self) -> str:
        """Everything on its console so far."""
        return self.console.read_text(errors="replace")

    def line(self, seconds: float) -> str:
        """What it tells for its enrolment."""
        return self.await_match(_LINE, seconds)[1]

    def await_match(self, pattern: re.Pattern[str], seconds: float) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        while (match := pattern.search(self.said())) is None:
            assert self.process.poll() is None, self.said()[-3000:]
            assert time.monotonic() < deadline, self.said()[-3000:]
            time.sleep(1)
        return match

    def await_ssh(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                with socket.create_connection((self.address, 22), timeout=2):
                    return
            except OSError:
                assert time.monotonic() < deadline, self.said()[-3000:]
                time.sleep(1)


@contextmanager
def booted(image: Path, folder: Path, lab: str, *, gib: int) -> Iterator[Machine]:
    """Boot an image on the wire of a lab.

    Args:
        image: The disk; it stays as it is.
        folder: An empty one, for what the machine writes.
        lab: The name of a lab that is up.
        gib: How large the disk is that the image was written to.
    """
    network = LabNetwork(lab, json.loads(LabPlaces.of(lab).record.read_text())["subnet_octet"])
    address = network.address(_OCTET)
    with ExitStack() as stack:
        network.attach_tap(_OCTET)
        stack.callback(network.detach, _OCTET)
        inside = ["ip", "netns", "exec", network.namespace]
        lease = f"--dhcp-range={address},{address},255.255.255.0,1h"
        dnsmasq = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=br0", lease]
        kept = [f"--dhcp-leasefile={folder}/leases", f"--pid-file={folder}/dnsmasq.pid", "--bind-interfaces"]
        _run(stack, [*inside, *dnsmasq, *kept], folder / "dnsmasq.log")
        disk, console = folder / "disk.qcow2", folder / "console.log"
        layer = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image), str(disk), f"{gib}G"]
        subprocess.run(layer, check=True)
        shutil.copyfile(FIRMWARE / "OVMF_VARS_4M.fd", folder / "vars.fd")
        port = f"tap,id=net,ifname={network.port(_OCTET)},script=no,downscript=no"
        qemu = [
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35,hpet=off"),
            *("-accel", "tcg,thread=multi", "-cpu", "max,la57=off,svm=off,vendor=GenuineIntel", "-smp", "2"),
            *("-m", "4G", "-smbios", f"type=1,serial={SERIAL}"),
            *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE}/OVMF_CODE_4M.fd"),
            *("-drive", f"if=pflash,format=raw,unit=1,file={folder}/vars.fd"),
            *(
                "-drive",
                f"if=none,id=disk,file={disk},format=qcow2,cache=unsafe",
                "-device",
                "virtio-blk-pci,drive=disk",
            ),
            *("-netdev", port, "-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile="),
            *("-device", "virtio-rng-pci", "-serial", f"file:{console}"),
        ]
        console.touch()
        yield Machine(_run(stack, [*inside, *qemu], folder / "qemu.log"), console, address)


def _run(stack: ExitStack, argv: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    stack.callback(process.wait, 30)
    stack.callback(process.terminate)
    return process
