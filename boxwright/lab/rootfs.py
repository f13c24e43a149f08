"""The root filesystem under every twin: a small Debian server, built once and shared read-only."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from boxwright.errors import LabError
from boxwright.lab.commands import locked, remove_tree, run
from boxwright.lab.places import root_filesystems
from boxwright.mirrors import apt_options
from boxwright.model.site import CODENAMES, Distribution, Mirrors

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "udev", "kmod", "procps"),
    *("openssh-server", "sudo", "python3", "python3-apt", "ca-certificates", "curl", "gpg"),
    *("iproute2", "iputils-ping", "nftables", "pciutils", "numactl", "dmidecode"),
)
_LAYOUT = 3  # raised when the way the tree is cleaned up changes


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is in a root filesystem."""

    codename: str
    debian: str
    debian_security: str
    packages: tuple[str, ...] = _PACKAGES
    components: tuple[str, ...] = ("main", "contrib", "non-free", "non-free-firmware")
    layout: int = _LAYOUT

    @property
    def digest(self) -> str:
        """The name of the tree in the cache."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def sources(self) -> str:
        """The twin's `/etc/apt/sources.list`, as Debian's installer writes it."""
        components = " ".join(self.components)
        return "".join(
            f"deb {uri} {suite} {components}\n"
            for uri, suite in (
                (self.debian, self.codename),
                (self.debian, f"{self.codename}-updates"),
                (self.debian_security, f"{self.codename}-security"),
            )
        )


def recipe(distribution: Distribution, mirrors: Mirrors) -> Recipe:
    """The recipe of a distribution. `mirrors` are resolved ones."""
    if mirrors.debian is None or mirrors.debian_security is None:
        raise LabError("a root filesystem needs resolved mirrors")
    return Recipe(CODENAMES[distribution], mirrors.debian, mirrors.debian_security)


def ensure(distribution: Distribution, mirrors: Mirrors, progress: Callable[[str], None]) -> Path:
    """Return the tree of a distribution. What is not cached is built; two commands never build twice."""
    wanted = recipe(distribution, mirrors)
    tree = root_filesystems() / wanted.digest
    if tree.is_dir():
        return tree
    with locked(tree.with_name(f".{wanted.digest}.lock"), progress) as lock:
        if not tree.is_dir():
            progress(f"Building the root filesystem of {distribution} (once, about half a minute)")
            _build(wanted, tree, apt_options(mirrors), lock)
    return tree


def _build(wanted: Recipe, tree: Path, apt_options: Sequence[str], lock: int) -> None:
    unfinished = tree.with_name(f"{wanted.digest}.unfinished")
    if unfinished.exists():
        remove_tree(unfinished)  # of a build that was killed; its last process has ended, or we had no lock
    run(
        [
            *("unshare", "--mount", "--propagation", "slave"),  # what it mounts vanishes with it, even if it is killed
            "mmdebstrap",
            *("--mode=root", "--variant=minbase", f"--keyring={_KEYRING}", "--format=directory"),
            f"--include={','.join(wanted.packages)}",
            *(f"--aptopt={line}" for line in apt_options),
            *('--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io"),
            *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "locale", "doc")),
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            *(wanted.codename, str(unfinished), "-"),
        ],
        stdin=wanted.sources,
        timeout=1200,
        holding=[lock],
    )
    _make_impersonal(unfinished)
    os.rename(unfinished, tree)  # noqa: PTH104 (says what it is: the one atomic step)


def _make_impersonal(tree: Path) -> None:
    """Remove what belongs to one machine, and every trace of how the tree was built."""
    etc = tree / "etc"
    leftovers = [
        *(etc / "ssh").glob("ssh_host_*"),
        *(etc / name for name in ("hostname", "resolv.conf")),
        *(etc / "apt/apt.conf.d").glob("*mmdebstrap"),
        *(etc / "dpkg/dpkg.cfg.d").glob("*mmdebstrap"),
        *(path for path in (tree / "var/log").rglob("*") if path.is_file()),
        tree / "var/lib/systemd/random-seed",
    ]
    for path in leftovers:
        path.unlink(missing_ok=True)
    (etc / "machine-id").write_text("")
    # A twin is thrown away: nothing is gained when dpkg waits for the controller's disk at every file.
    (etc / "dpkg/dpkg.cfg.d/twin").write_text("force-unsafe-io\n")
    for stamp in (etc / ".updated", tree / "var/.updated"):
        shutil.copystat(tree / "usr", _touched(stamp))  # else each first boot updates caches that are fresh


def _touched(path: Path) -> Path:
    path.touch()
    return path
