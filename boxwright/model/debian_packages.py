"""Debian packages that are unpacked beside the system: which, and out of which suites. For deploys and bundles."""

from __future__ import annotations

from typing import Any

from boxwright.model.base import AbsolutePath, Frozen, Identifier

DEBIAN_KEYRING: AbsolutePath = "/usr/share/keyrings/debian-archive-keyring.gpg"
BUNDLE_KEY = "key.asc"  # beside the lists that it signs
BUNDLE_KEYRING: AbsolutePath = "/usr/share/keyrings/boxwright-bundle.asc"  # the role base puts it there


class UnpackedPackages(Frozen):
    """Packages in a folder of their own."""

    name: Identifier
    suites: tuple[str, ...]
    packages: tuple[str, ...]
    with_dependencies: bool
    provided: tuple[str, ...] = ()  # dependencies that need not be there: for set-up that never runs

    @property
    def request(self) -> dict[str, Any]:
        """What install-debian-root is told of them."""
        return {
            "suites": list(self.suites),
            "packages": list(self.packages),
            "with_dependencies": self.with_dependencies,
            "provided": list(self.provided),
        }


PYTHON_3_11 = UnpackedPackages(
    name="python3.11",
    suites=("bookworm", "bookworm-updates"),
    packages=(
        "python3.11",
        "python3.11-minimal",
        "libpython3.11-minimal",
        "libpython3.11-stdlib",
        "libpython3.11-dev",  # headers: Triton compiles against them when an engine starts
        "python3-pip-whl",
    ),
    with_dependencies=False,  # the box's own libraries serve it, and get the box's security updates
)
LLAMA_CPP = UnpackedPackages(
    name="llama_cpp",
    suites=("forky", "sid"),
    packages=("llama.cpp-tools", "llama.cpp-tools-extra"),
    with_dependencies=True,
    provided=("debconf", "wget"),
)
# Of Debian 12, for every box: what they build runs there and on all that is newer, and NVIDIA's compilers do not take
# the headers of Debian 13 (glibc 2.41) before CUDA 13.2.
COMPILERS = UnpackedPackages(
    name="compilers",
    suites=("bookworm", "bookworm-updates"),
    packages=("g++-12", "cmake", "ninja-build", "coreutils", "dash"),
    with_dependencies=True,
    provided=("debconf", "dh-elpa-helper", "procps", "usrmerge"),  # for set-up that never runs here
)
# The same and Boost, which nvbandwidth reads its options by. For the box that builds programs for cards.
CARD_COMPILERS = COMPILERS.model_copy(
    update={"name": "card_compilers", "packages": (*COMPILERS.packages, "libboost-program-options1.74-dev")}
)
UNPACKED = (PYTHON_3_11, LLAMA_CPP, COMPILERS, CARD_COMPILERS)
SYSTEM = "system"  # a suite of a bundle: the operating system of an image
_SYSTEM_PACKAGES = (
    "?essential",  # a pattern of apt: what Debian itself marks so
    "usr-is-merged",  # and not the program that would merge /usr, with Perl below it: it is made merged
    *("apt", "systemd", "systemd-sysv", "libpam-systemd", "dbus", "udev", "kmod", "procps"),
    *("systemd-resolved", "openssh-server", "sudo", "python3", "python3-apt", "ca-certificates", "gpg"),
    *("iproute2", "iputils-ping", "nftables", "pciutils", "numactl", "dmidecode", "less", "vim-tiny"),
    *("linux-image-amd64", "initramfs-tools", "zstd", "e2fsprogs", "fdisk", "dosfstools", "systemd-boot"),
)
_SYSTEM_PACKAGES_OF = {"debian-13": ("systemd-repart",)}  # which Debian 12 has in systemd itself


def system_packages(distribution: str) -> tuple[str, ...]:
    """The packages that the operating system of an image is made of, without those that they stand on."""
    return (*_SYSTEM_PACKAGES, *_SYSTEM_PACKAGES_OF.get(distribution, ()))
