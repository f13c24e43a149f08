"""What the controller needs before it can run a twin."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from boxwright.errors import LabError
from boxwright.lab.commands import run
from boxwright.model.debian_packages import DEBIAN_KEYRING

_PACKAGES = {  # the program that shows that a package is there
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "tinyproxy": "tinyproxy-bin",  # without its service, unlike the package tinyproxy
    "ssh-keygen": "openssh-client",
    "nsenter": "util-linux",
    "apt-config": "apt",
}
_VM_PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mke2fs": "e2fsprogs",
    "setpriv": "util-linux",
}
_INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
_INOTIFY_PER_TWIN = 16  # systemd, udevd, dbus and journald of a twin count on the controller's root user
_INOTIFY_OWN = 64
_INOTIFY_ROOMY = 8192


def ensure(
    progress: Callable[[str], None], *, vms: bool = False, further: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Install what is missing, as root on Debian; for VMs too if they are wanted, and what else somebody needs.

    Args:
        progress: Told what is installed.
        vms: Whether VMs shall run.
        further: Debian packages, by the program that shows that one is there.

    Raises:
        LabError: This machine cannot run twins, or a package must be installed by hand first.
    """
    if os.geteuid() != 0:
        raise LabError("twins need root on the controller", hint="Run the same command as root.")
    if missing := missing_packages(vms=vms, further=further):
        _install(missing, progress)
    if vms and not Path("/dev/net/tun").exists():
        raise LabError("this kernel has no /dev/net/tun, which connects a VM", hint="Load it: modprobe tun")
    if not Path("/dev/fuse").exists():
        raise LabError("this kernel has no /dev/fuse", hint="Load it: modprobe fuse")


def missing_packages(*, vms: bool = False, further: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """The Debian packages that the lab needs, with VMs or without, and this machine does not have."""
    needed = {**_PACKAGES, **(_VM_PACKAGES if vms else {}), **further}
    missing = list(dict.fromkeys(package for program, package in needed.items() if shutil.which(program) is None))
    return missing if Path(DEBIAN_KEYRING).exists() else [*missing, "debian-archive-keyring"]


def _install(packages: list[str], progress: Callable[[str], None]) -> None:
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    if release.get("ID") != "debian":
        raise LabError(
            f"missing on this controller: {', '.join(packages)}",
            hint="On Debian, as root: apt-get update && " + " ".join(command),
        )
    progress(f"Installing {', '.join(packages)} on the controller")
    patient = ["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    run([*environment, "apt-get", *patient, "update"], timeout=300)
    run([*environment, *command[:1], *patient, *command[1:]], timeout=600)


def ensure_inotify(twins: int, progress: Callable[[str], None]) -> None:
    """Raise the kernel's limit of inotify instances where `twins`, of all labs, would go past it.

    Args:
        twins: How many twins of all labs run in the end.
        progress: Told when the limit changes.
    """
    needed = _INOTIFY_OWN + twins * _INOTIFY_PER_TWIN
    current = int(_INOTIFY_INSTANCES.read_text())
    if current < needed:
        raised = max(needed, _INOTIFY_ROOMY)
        progress(f"Raising fs.inotify.max_user_instances from {current} to {raised} until the next boot")
        _INOTIFY_INSTANCES.write_text(str(raised))
