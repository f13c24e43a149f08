"""Finds settings of packages that a power cut emptied, and puts them back out of their packages.

    python3 - look < emptied_conffiles.py    tells them, a path a line
    python3 - mend < emptied_conffiles.py    puts them back, and tells them

dpkg syncs what it unpacks, but for conffiles: where power is lost within half a minute, they are there and empty. Those
that wait for their package to be configured are called NAME.dpkg-new. Standard library only.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path("/")
FORM = "${Package}\t${Architecture}\t${Version}\t${db:Status-Status}\n${Conffiles}\n"
UNCONFIGURED = ("unpacked", "half-configured")
CONFIGURED = ("installed", "triggers-awaited", "triggers-pending")
OF_NOTHING = "d41d8cd98f00b204e9800998ecf8427e"  # md5, by which dpkg knows conffiles
NEW = ".dpkg-new"
LOCKS = ("lock-frontend", "lock")
PATIENCE_S = 1800  # for another program's work on packages


class MendError(Exception):
    """The settings cannot be put back; the message says why."""


@dataclass(frozen=True)
class Package:
    """A package that dpkg knows, and its conffiles: path and digest."""

    name: str
    architecture: str
    version: str
    status: str
    conffiles: tuple[tuple[str, str], ...] = ()

    @property
    def archive(self) -> str:
        """What apt calls its file."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


def read(told: str) -> list[Package]:
    """The packages of dpkg-query's answer, without conffiles that are obsolete or to be removed."""
    packages: list[Package] = []
    for line in told.splitlines():
        if line.startswith(" "):
            path, digest, *remarks = line.split()
            if not remarks:
                packages[-1] = replace(packages[-1], conffiles=(*packages[-1].conffiles, (path, digest)))
        elif line:
            name, architecture, version, status = line.split("\t")
            packages.append(Package(name, architecture, version, status))
    return packages


def emptied(package: Package, root: Path = ROOT) -> Iterator[Path]:
    """Those that were lost. One that somebody emptied is younger than what was unpacked, and stays."""
    if package.status not in UNCONFIGURED + CONFIGURED:
        return  # half unpacked: it is installed again as a whole
    info = root / "var/lib/dpkg/info"
    lists = [info / f"{name}.list" for name in (package.name, f"{package.name}:{package.architecture}")]
    unpacked_at = max((path.stat().st_mtime for path in lists if path.exists()), default=0.0)
    for name, digest in package.conffiles:
        place = root / name.lstrip("/")
        fresh = place.with_name(place.name + NEW)
        if package.status in UNCONFIGURED and _empty(fresh):
            yield fresh
        # Its digest is unknown, too, where power was cut between its getting its name and the note of that.
        elif digest != OF_NOTHING and _empty(place) and place.stat().st_mtime < unpacked_at:
            yield place


def _empty(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and not path.stat().st_size


def put_back(paths: list[Path], archive: Path, root: Path = ROOT) -> None:
    """Write files as they are in a package.

    Raises:
        MendError: The package is damaged, or lacks one of them.
    """
    wanted = {f"./{path.relative_to(root)}".removesuffix(NEW): path for path in paths}
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as source:
        assert source.stdout  # noqa: S101  piped
        with tarfile.open(fileobj=source.stdout, mode="r|") as members:
            for member in members:
                stream = members.extractfile(member) if member.name in wanted else None
                if stream:
                    _write(wanted.pop(member.name), stream.read(), member)
        source.stdout.read()  # what pads its end; unread, it would count as broken
    if source.returncode or wanted:
        raise MendError(f"{archive.name} is damaged, or lacks {', '.join(wanted)}")


def _write(path: Path, content: bytes, member: tarfile.TarInfo) -> None:
    draft = path.with_name(f".{path.name}.boxwright")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fchown(file.fileno(), member.uid, member.gid)
        os.fchmod(file.fileno(), member.mode)
        os.fsync(file.fileno())
    draft.replace(path)


def _archive_of(package: Package, folder: Path) -> Path:
    """The package as it was downloaded; downloaded again where that is gone, or was emptied, too."""
    kept = Path("/var/cache/apt/archives", package.archive)
    if kept.exists() and not _run("dpkg-deb", "--fsys-tarfile", str(kept)).returncode:
        return kept
    wanted = f"{package.name}={package.version}"
    if package.architecture != "all":
        wanted = f"{package.name}:{package.architecture}={package.version}"
    for words in (("update",), ("download", wanted)):
        done = _run("apt-get", "-q", *words, folder=folder)
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).decode(errors="replace").strip().splitlines()[-5:])
            raise MendError(f"a power cut emptied settings of {wanted}, which cannot be downloaded:\n{tail}")
    return next(folder.glob(f"{package.name}_*.deb"))


def _run(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(words, cwd=folder, capture_output=True, check=False)


def _lock(name: str) -> int:
    """Keep other programs from packages, once they have done what they are at."""
    descriptor = os.open(ROOT / "var/lib/dpkg" / name, os.O_RDWR | os.O_CREAT, 0o640)
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > end:
                raise MendError(f"another program has been at work on packages for {PATIENCE_S} s") from None
            time.sleep(1)
        else:
            return descriptor


def main(what: str) -> int:
    """Look, or mend; tell the paths."""
    try:
        locks = [_lock(name) for name in LOCKS] if what == "mend" else []
        for package in read(_run("dpkg-query", "-W", "-f", FORM).stdout.decode()):
            paths = list(emptied(package))
            if paths and locks:
                with tempfile.TemporaryDirectory() as folder:
                    put_back(paths, _archive_of(package, Path(folder)))
            for path in paths:
                print(path)  # noqa: T201 - for the role
    except (MendError, OSError, tarfile.TarError) as error:
        print(f"emptied_conffiles: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
