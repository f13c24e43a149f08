"""What an image has beyond what was provisioned: whatever makes a box of it at its first boot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from boxwright.factory.image.disk import ESP_MOUNT
from boxwright.factory.image.identity import Identity

GUEST = Path(__file__).with_name("guest")
UNITS = ("boxwright-first-boot.service", "boxwright-enrolment.service")
_SYSTEM = "etc/systemd/system"
_FILES = {  # where: from which file, with which mode
    "usr/local/lib/boxwright/first-boot": ("boxwright-first-boot", 0o755),
    **{f"{_SYSTEM}/{unit}": (unit, 0o644) for unit in UNITS},
    "etc/systemd/network/90-any.network": ("90-any.network", 0o644),
    "etc/systemd/resolved.conf.d/90-boxwright.conf": ("resolved.conf", 0o644),
    "etc/systemd/system-preset/00-boxwright-image.preset": ("00-boxwright-image.preset", 0o644),
    "etc/repart.d/50-root.conf": ("50-root.conf", 0o644),
}
_LINKS = {
    f"{_SYSTEM}/multi-user.target.wants/boxwright-first-boot.service": f"/{_SYSTEM}/boxwright-first-boot.service",
    f"{_SYSTEM}/ssh.service.requires/boxwright-first-boot.service": f"/{_SYSTEM}/boxwright-first-boot.service",
    f"{_SYSTEM}/multi-user.target.wants/boxwright-enrolment.service": f"/{_SYSTEM}/boxwright-enrolment.service",
    f"{_SYSTEM}/multi-user.target.wants/systemd-networkd.service": "/lib/systemd/system/systemd-networkd.service",
    # It would ask on the console for a language, a time zone and a password, and wait for the answers.
    f"{_SYSTEM}/systemd-firstboot.service": "/dev/null",
    "etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf",
}
_HOSTS = "127.0.0.1\tlocalhost\n127.0.1.1\tbox\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def place(tree: Path, identity: Identity, authorized_key: str) -> None:
    """Put it in its place.

    Args:
        tree: Sealed.
        identity: Ids and date.
        authorized_key: A public key of ssh, whose owner may enter as root.
    """
    for path, text, mode in texts(identity, authorized_key):
        target = tree / path
        _folder(target.parent, tree)
        target.unlink(missing_ok=True)
        target.write_text(text)
        target.chmod(mode)
    for path, leads_to in _LINKS.items():
        target = tree / path
        _folder(target.parent, tree)
        target.unlink(missing_ok=True)
        os.symlink(leads_to, target)  # noqa: PTH211  as it is written, and not made a path of
    (tree / "root/.ssh").chmod(0o700)
    _folder(tree / ESP_MOUNT.lstrip("/"), tree)


def texts(identity: Identity, authorized_key: str) -> Iterator[tuple[str, str, int]]:
    """Its files: where, what, and with which mode."""
    for path, (name, mode) in _FILES.items():
        yield path, (GUEST / name).read_text(), mode
    yield "etc/machine-id", "", 0o444  # whatever is in an empty one, systemd makes
    yield "etc/hostname", "box\n", 0o644
    yield "etc/hosts", _HOSTS, 0o644
    yield "root/.ssh/authorized_keys", f"{authorized_key}\n", 0o600
    yield "etc/boxwright/image", f"lock sha256 {identity.lock_sha256}\n", 0o644


def _folder(folder: Path, tree: Path) -> None:
    """Make a folder, whatever our umask, and what it is in."""
    if not folder.is_dir():
        _folder(folder.parent, tree)
        folder.mkdir()
        folder.chmod(0o755)
