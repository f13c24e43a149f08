"""Ubuntu's kernels and its NVIDIA driver, SIMULATED: names, versions and relations, and modules that modinfo can read.

Nothing of it boots or drives a card. Names and relations are those that packages.ubuntu.com shows of 22.04 and 24.04.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from boxwright.lab.vendors.repository import Package


@dataclass(frozen=True)
class Signer:
    """Who signs modules: a key and its certificate, of one test alone."""

    key: Path
    certificate: Path
    der: Path  # the certificate as mokutil takes it

    @classmethod
    def made(cls, folder: Path, name: str) -> Signer:
        """A new one."""
        made = cls(*(folder / f"{name}.{suffix}" for suffix in ("key", "pem", "der")))
        argv = ["openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN=SIMULATED {name}"]
        _run([*argv, "-keyout", str(made.key), "-out", str(made.certificate)])
        _run(["openssl", "x509", "-in", str(made.certificate), "-outform", "DER", "-out", str(made.der)])
        return made


def simulated_module(name: str, version: str, signer: Signer | None = None) -> bytes:
    """An object file with nothing in it but what `modinfo` shows, signed as the kernel's `sign-file` does it."""
    facts = {"name": name, "version": version, "license": "SIMULATED", "description": "SIMULATED: it drives no card"}
    modinfo = b"".join(f"{key}={value}".encode() + b"\0" for key, value in facts.items())
    names = b"\0.modinfo\0.shstrtab\0"
    start = 64 + len(modinfo) + len(names)
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")  # 64 bits, little-endian
    head = identity + struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, start, 0, 64, 0, 0, 64, 3, 2)
    sections = [
        bytes(64),
        struct.pack("<IIQQQQIIQQ", 1, 1, 2, 0, 64, len(modinfo), 0, 0, 1, 0),
        struct.pack("<IIQQQQIIQQ", 10, 3, 0, 0, 64 + len(modinfo), len(names), 0, 0, 1, 0),
    ]
    module = head + modinfo + names + b"".join(sections)
    return module if signer is None else module + _signature(module, signer)


def _signature(module: bytes, signer: Signer) -> bytes:
    with TemporaryDirectory() as scratch:
        plain = Path(scratch, "module")
        plain.write_bytes(module)
        argv = ["openssl", "cms", "-sign", "-binary", "-noattr", "-nocerts", "-md", "sha256", "-outform", "DER"]
        argv += ["-signer", str(signer.certificate), "-inkey", str(signer.key), "-in", str(plain)]
        signed = _run(argv)
    return signed + struct.pack(">BBBBB3xI", 0, 0, 2, 0, 0, len(signed)) + b"~Module signature appended~\n"


def kernels(releases: Iterable[str], *, names: Iterable[str] = ("generic",)) -> Iterator[Package]:
    """Kernels of these releases, `6.8.0-87-generic`, and the names that follow the last of them."""
    last = ""
    for last in releases:
        image = {f"/boot/vmlinuz-{last}": b"SIMULATED: it does not boot\n"}
        yield Package(f"linux-image-{last}", _version(last), files=image)
    for name in names:
        yield Package(f"linux-image-{name}", _version(last), {"Depends": f"linux-image-{last}"})
        yield Package(f"linux-headers-{name}", _version(last))


def driver(versions: Iterable[str], *, signer: Signer) -> Iterator[Package]:
    """The driver of these versions, `580.95.05`, in both flavours, with modules to build; DKMS is one with `dkms()`."""
    for release in versions:
        branch, version = release.split(".")[0], f"{release}-0ubuntu0.24.04.1"
        server = f"{branch}-server"
        common = f"nvidia-kernel-common-{server}"
        firmware = f"nvidia-firmware-{server}-{release}"
        exclusive = {"Provides": f"nvidia-kernel-common, {common}-{release}", "Conflicts": "nvidia-kernel-common"}
        yield Package(firmware, version)
        yield Package(common, version, {"Depends": firmware} | exclusive)
        one_of_them = {"Provides": "libnvidia-compute", "Conflicts": "libnvidia-compute"}
        yield Package(f"libnvidia-compute-{server}", version, one_of_them)
        needs = {"Depends": f"{common} (= {version}), libnvidia-compute-{server} (>= {release})"}
        yield Package(f"nvidia-utils-{server}", version, needs)
        yield Package(f"nvidia-compute-utils-{server}", version, needs, unit="nvidia-persistenced")
        for series in (server, f"{server}-open"):
            needs_utils = {"Depends": f"nvidia-compute-utils-{server} (= {version}), {common} (= {version})"}
            yield Package(f"nvidia-headless-no-dkms-{series}", version, needs_utils)
            source = {f"/usr/src/simulated-{series}.ko": simulated_module("nvidia", release, signer)}
            yield Package(
                f"nvidia-dkms-{series}",
                version,
                {"Depends": f"dkms, {common} (>= {release})", "Conflicts": "nvidia-dkms", "Provides": "nvidia-dkms"},
                files=source,
                configured=f"simulated-dkms /usr/src/simulated-{series}.ko",
                removing="simulated-dkms",
            )
        # Ubuntu's counts revisions of its own.
        manager = {"Depends": f"{common}-{release}"}
        yield Package(f"nvidia-fabricmanager-{branch}", f"{release}-0ubuntu3", manager, unit="nvidia-fabricmanager")


def built_modules(
    release: str, kernels: Iterable[str], *, signer: Signer | None, name: str = "generic"
) -> Iterator[Package]:
    """Modules of a driver's release for these kernels, and the package that follows the last of them."""
    branch, last = release.split(".", maxsplit=1)[0], ""
    for open_or_not in ("", "-open"):
        series = f"{branch}-server{open_or_not}"
        common = f"nvidia-kernel-common-{branch}-server (>= {release})"
        for last in kernels:
            place = f"/lib/modules/{last}/kernel/nvidia-{branch}srv{open_or_not}/nvidia.ko"
            yield Package(
                f"linux-modules-nvidia-{series}-{last}",
                _version(last),
                {"Depends": f"linux-image-{last}, {common}"},
                files={place: simulated_module("nvidia", release, signer)},
                configured=f"depmod {last}",
            )
        following = f"linux-modules-nvidia-{series}-{last} (= {_version(last)})"
        yield Package(f"linux-modules-nvidia-{series}-{name}", _version(last), {"Depends": f"{following}, {common}"})


def dkms() -> Package:
    """Puts a module that is ready into every kernel, in the place of a build; without one it takes it away."""
    script = """\
#!/bin/sh
# SIMULATED: nothing is built.
set -e
for image in /boot/vmlinuz-*; do
  release=${image#/boot/vmlinuz-}
  rm -f "/lib/modules/$release/updates/dkms/nvidia.ko"
  [ $# = 0 ] || install -D -m 0644 "$1" "/lib/modules/$release/updates/dkms/nvidia.ko"
  depmod "$release"
done
"""
    return Package("dkms", "3.0.11-1ubuntu13", programs={"/usr/bin/simulated-dkms": script})


def _version(kernel: str) -> str:
    """The version of a kernel's packages: 6.8.0-87.88 of 6.8.0-87-generic."""
    base, build, *_ = kernel.split("-")
    return f"{base}-{build}.{int(build) + 1}"


def _run(argv: list[str]) -> bytes:
    return subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
