#!/usr/bin/python3
"""Build a program from pinned source, apart from everything else on this machine, and pack it into one archive.

Usage: build-program REQUEST

REQUEST is a JSON file:
  `key`: names the build; its archive becomes `WORK/KEY.tar.gz`, with BUILD.json and `bin/` in it;
  `work`: a folder that nobody but root enters;
  `source`: `sha256`, `folder` (below which the source lies in the archive; null: its only one), and where the archive
    is: `path` on this machine, or `package` and `package_version` of a source distribution on the Python package index;
  `compilers`: a root filesystem with cmake, ninja and the compilers, as install-debian-root makes it;
  `mounts`: folders of this machine that the build reads besides, such as a CUDA toolkit;
  `written` (may be left out): texts by their place in the source, put over what is there, such as a CMakeLists.txt;
  `copied` (may be left out): a list of `pattern`, files of this machine, and `folder`, where in the source they go;
  `cmake`: arguments of its configuration; `targets`: programs to build;
  `record`: what BUILD.json is to say besides;
  `fetcher`: the folder with the modules of fetch-model; `python_index`, `proxy`, `no_proxy`.

The build runs as nobody, without a network, and sees no process and no file of the machine but those named here. Lines
that begin with `progress: ` tell how far it is; the last line is `built SHA256 BYTES`. An archive that a run left
behind is handed out again, and not built.
"""

from __future__ import annotations

import datetime
import fcntl
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NOBODY = 65534
TELL_EVERY_S = 3.0
TAIL = 15  # lines that a failed step shows
MEMORY_OF_A_COMPILER = 2 << 30  # of nvcc, the largest of them
# Everything below happens in namespaces of its own, so that it is undone when the last process in them is gone.
_ENTER = """
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
mount -o remount,bind,ro "$ROOT"
mount --bind "$PLACE" "$ROOT/build"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/tmp"
for folder in $MOUNTS; do mount --bind "$folder" "$ROOT$folder"; mount -o remount,bind,ro "$ROOT$folder"; done
exec chroot --userspec="$NOBODY:$NOBODY" "$ROOT" /usr/bin/env -i -C /build PATH=/usr/bin HOME=/tmp LC_ALL=C "$@"
"""


class BuildError(Exception):
    """The program cannot be built; the message says why."""


def say(text: str) -> None:
    """Tell whoever watches how far it is."""
    print(f"progress: {text}", flush=True)  # noqa: T201 - a program of its own on the box


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Sandbox:
    """Where the source is configured and compiled.

    Args:
        root: The root filesystem with the compilers.
        place: What becomes `/build` in it, the one folder that can be written.
        mounts: Folders of this machine that are seen besides, under their own names.
    """

    def __init__(self, root: Path, place: Path, mounts: list[str]) -> None:
        strange = [folder for folder in mounts if not re.fullmatch(r"(/[A-Za-z0-9._+-]+)+", folder)]
        absent = [folder for folder in mounts if not Path(folder).is_dir()]
        if strange or absent:
            raise BuildError(f"the build needs {', '.join(strange or absent)}, and there is no such folder")
        for folder in ("/build", *mounts):
            (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "ROOT": str(root),
            "PLACE": str(place),
            "MOUNTS": " ".join(mounts),
            "NOBODY": str(NOBODY),
        }

    def run(self, what: str, command: list[str]) -> str:
        """Run a command in `/build`; return what it printed.

        Raises:
            BuildError: It failed.
        """
        namespaces = ["--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child=KILL"]
        words = ["unshare", *namespaces, "--", "/bin/sh", "-euc", _ENTER, "sh", *command]
        told, output = time.monotonic(), []
        with subprocess.Popen(
            words,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            for line in process.stdout or ():
                output.append(line.rstrip("\n"))
                step = re.match(r"\[(\d+)/(\d+)\]", line)
                if step and time.monotonic() - told >= TELL_EVERY_S:
                    told = time.monotonic()
                    say(f"{step[1]} of {step[2]} steps")
        if process.returncode:
            tail = "\n".join(output[-TAIL:])
            raise BuildError(f"{what} failed with exit code {process.returncode}:\n{tail}")
        return "\n".join(output)


def fetched(request: dict[str, Any], work: Path) -> Path:
    """The archive with the source, with the digest that it must have.

    Raises:
        BuildError: It cannot be had.
    """
    source = request["source"]
    if source["path"]:
        path = Path(source["path"])
        if not path.is_file() or _digest(path) != source["sha256"]:
            raise BuildError(f"{path} is not the source with sha256 {source['sha256']}")
        return path
    sys.path.insert(0, request["fetcher"])
    import files  # noqa: PLC0415 - these are beside the fetcher, on the box
    import packages  # noqa: PLC0415
    import progress  # noqa: PLC0415
    import transfer  # noqa: PLC0415

    net = transfer.Net(request["proxy"], request["no_proxy"], {})
    name = f"{source['package'].replace('-', '_')}-{source['package_version']}.tar.gz"
    try:
        offers = packages.Index(request["python_index"], net).wheels(source["package"])
        found = [offer for offer in offers if offer.name.lower() == name.lower()]
        if not found:
            raise BuildError(f"{request['python_index']} offers no {name}")
        say(f"fetches {name}")
        part = files.Part(work / name, progress.Meter())
        everything = transfer.Work(net, part.meter, threading.Event())
        transfer.receive(part, (found[0].url,), found[0].size, source["sha256"], everything)
    except files.FetchError as error:
        raise BuildError(str(error)) from error
    part.path.replace(work / name)
    return work / name


def unpacked(archive: Path, folder: str | None, destination: Path) -> None:
    """Unpack what lies below a folder of an archive: files and folders, and no link.

    Raises:
        BuildError: The archive is damaged, or has no such folder.
    """
    begin = f"{folder}/" if folder else ""
    count = 0
    try:
        with tarfile.open(archive) as source:
            for member in source:
                if not begin:
                    begin = member.name.split("/")[0] + "/"
                inner = member.name.removeprefix(begin)
                if inner == member.name or not member.isfile() or ".." in inner.split("/"):
                    continue
                path = destination / inner
                path.parent.mkdir(parents=True, exist_ok=True)
                stream = source.extractfile(member)
                with path.open("wb") as target:
                    shutil.copyfileobj(stream or io.BytesIO(), target)
                path.chmod(0o755 if member.mode & 0o100 else 0o644)
                count += 1
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BuildError(f"{archive.name} cannot be unpacked: {error}") from error
    if count == 0:
        raise BuildError(f"{archive.name} has nothing below {begin or 'its top'}")


def completed(request: dict[str, Any], destination: Path) -> None:
    """Put into the source what the request says besides.

    Raises:
        BuildError: This machine lacks something of it, or the source cannot be configured.
    """
    for name, text in request.get("written", {}).items():
        (destination / name).write_text(text)
    for wanted in request.get("copied", []):
        found = sorted(Path("/").glob(wanted["pattern"].lstrip("/")))
        if not found:
            raise BuildError(f"the build needs {wanted['pattern']}, and this machine has none")
        folder = destination / wanted["folder"]
        folder.mkdir(exist_ok=True)
        for path in found:
            if path.is_dir():
                shutil.copytree(path, folder / path.name, dirs_exist_ok=True)
            else:
                shutil.copyfile(path, folder / path.name)
    if not (destination / "CMakeLists.txt").is_file():
        count = sum(1 for _ in destination.rglob("*"))
        raise BuildError(f"the source has no CMakeLists.txt ({count} files there)")


def compiled(request: dict[str, Any], sandbox: Sandbox) -> dict[str, str]:
    """Configure and build; return the versions of what built it."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    jobs = max(1, min(len(os.sched_getaffinity(0)), memory // MEMORY_OF_A_COMPILER))
    say("configures the source")
    told = sandbox.run("cmake", ["cmake", "-G", "Ninja", "-S", "source", "-B", "out", *request["cmake"]])
    unused = re.search(r"Manually-specified variables were not used by the project:\s+((?:\S+\s*)+)", told)
    if unused:
        raise BuildError(f"this source knows nothing of {' '.join(unused[1].split())}: another release, other options")
    sandbox.run("the build", ["ninja", "-C", "out", f"-j{jobs}", *request["targets"]])
    manifest = Path(sandbox.environment["ROOT"], "MANIFEST").read_text().splitlines()
    packages = dict(line.split(" ")[0].split("=", 1) for line in manifest)
    versions = {name: packages[name] for name in ("cmake", "g++-12", "binutils", "libc6-dev") if name in packages}
    for folder in request["mounts"]:
        nvcc = f"{folder}/bin/nvcc"
        if Path(nvcc).exists():
            release = re.search(r"\bV(\d+\.\d+\.\d+)", sandbox.run("nvcc", [nvcc, "--version"]))
            versions["nvcc"] = release[1] if release else "unknown"
    return versions


def packed(request: dict[str, Any], place: Path, versions: dict[str, str], seconds: float, draft: Path) -> None:
    """Pack the programs, and the record of how they came about.

    Raises:
        BuildError: A program is not what a build leaves there.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    record = request["record"] | {
        "key": request["key"],
        "source_sha256": request["source"]["sha256"],
        "cmake": request["cmake"],
        "made_by": versions,
        "made_on": socket.gethostname(),
        "made_at": now,
        "seconds": round(seconds),
    }
    with (
        draft.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w|") as archive,
    ):
        _add(archive, "BUILD.json", (json.dumps(record, indent=2, sort_keys=True) + "\n").encode(), 0o644)
        for name in request["targets"]:
            descriptor = os.open(place / "out" / "bin" / name, os.O_RDONLY | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as stream:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode) or status.st_uid != NOBODY or status.st_nlink != 1:
                    raise BuildError(f"the build left no program {name}")
                _add(archive, f"bin/{name}", stream.read(), 0o755)


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))


def build(request: dict[str, Any]) -> Path:
    """Make the archive, unless an earlier run has made it."""
    work = Path(request["work"])
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    archive = work / f"{request['key']}.tar.gz"
    with _alone(work / ".lock"):
        if archive.exists():
            return archive
        place = work / f".{request['key']}"
        shutil.rmtree(place, ignore_errors=True)  # what a killed run left
        try:
            source = fetched(request, work)
            unpacked(source, request["source"]["folder"], place / "source")
            completed(request, place / "source")
            (place / "out").mkdir()
            os.chown(place / "out", NOBODY, NOBODY)
            began = time.monotonic()
            sandbox = Sandbox(Path(request["compilers"]).resolve(), place, request["mounts"])
            versions = compiled(request, sandbox)
            draft = work / f".{request['key']}.new"
            packed(request, place, versions, time.monotonic() - began, draft)
            with draft.open("rb") as made:
                os.fsync(made.fileno())  # a power cut would leave half of it, to be handed out by the next run
            draft.replace(archive)
            if not request["source"]["path"]:
                source.unlink()
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return archive


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waits for another build on this machine")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(arguments: list[str]) -> int:
    """Build what the request file says."""
    os.umask(0o022)
    request = json.loads(Path(arguments[0]).read_text())
    try:
        archive = build(request)
        print(f"built {_digest(archive)} {archive.stat().st_size}")  # noqa: T201 - a program of its own on the box
    except (BuildError, OSError) as error:
        print(f"build-program: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
