"""Fetches what settings are read from, by digest, and unpacks it into a cache. Nothing is installed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from boxwright import mirrors
from boxwright.model.engine_settings import Release
from boxwright.model.site import Mirrors

ROOT = Path(__file__).resolve().parents[2]
_PLATFORMS = ("manylinux1_x86_64", "manylinux2014_x86_64", *(f"manylinux_2_{glibc}_x86_64" for glibc in (28, 31, 35)))
_PYTHON = "3.12"


class ArtefactError(Exception):
    """A file cannot be had, or is not the one that the table names."""


def wheel(package: str, release: Release, cache: Path) -> Path:
    """The Python files of a wheel.

    Args:
        package: Its name.
        release: Its version, and its digest.
        cache: Where wheels and what is unpacked from them are kept.

    Raises:
        ArtefactError: It cannot be fetched, or its digest is another one.
    """
    sha256 = release.wheels[package]
    folder = cache / f"{package}-{release.version}-{sha256[:12]}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    pattern = f"{package.replace('-', '_')}-{release.version}-*.whl"
    archive = next(cache.glob(pattern), None) or _download(package, release.version, cache, pattern)
    if _digest(archive) != sha256:
        raise ArtefactError(f"{archive} has the digest {_digest(archive)}, and the table says {sha256}")
    with tempfile.TemporaryDirectory(dir=cache) as draft, zipfile.ZipFile(archive) as contents:
        contents.extractall(draft, [name for name in contents.namelist() if name.endswith(".py")])
        shutil.move(draft, folder)
        Path(draft).mkdir()  # for the context manager to remove
    archive.unlink()  # some are half a gigabyte
    return folder


def _download(package: str, version: str, cache: Path, pattern: str) -> Path:
    tags = [word for tag in _PLATFORMS for word in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    target = ["--python-version", _PYTHON, *tags, "--dest", str(cache), f"{package}=={version}"]
    done = subprocess.run([*command, *target], capture_output=True, text=True, check=False)
    found = next(cache.glob(pattern), None)
    if done.returncode or found is None:
        raise ArtefactError(f"{package} {version} cannot be fetched:\n{done.stderr.strip()[-1000:]}")
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def llama_server_help(release: Release, cache: Path) -> str:
    """What Debian's llama-server prints for `--help`. Its packages are unpacked into a root of their own.

    Raises:
        ArtefactError: It is another build than the table's.
    """
    destination = cache / "llama.cpp"
    if not (destination / "current").exists():
        _unpack_debian(destination)
    server = ["chroot", str(destination / "current"), "/usr/bin/llama-server"]
    told = subprocess.run([*server, "--version"], capture_output=True, text=True, check=True)
    build = re.search(r"build (\d+)", told.stdout + told.stderr)
    if build is None or f"b{build[1]}" != release.version:
        raise ArtefactError(f"the distribution has llama-server {build[1] if build else '?'}, not {release.version}")
    return subprocess.run([*server, "--help"], capture_output=True, text=True, check=True).stdout


def _unpack_debian(destination: Path) -> None:
    found = mirrors.resolve_debian(Mirrors())
    request = {
        "destination": str(destination),
        "mirror": found.debian,
        "check_valid_until": found.check_valid_until,
        "suites": ["forky", "sid"],
        "packages": ["llama.cpp-tools"],
        "with_dependencies": True,
        "provided": ["debconf", "wget"],
        "version_of": "llama.cpp-tools",
        "check": ["usr/bin/llama-server", "--version"],
        "chroot": True,
        "proxy": None,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(request, file)
        file.flush()
        program = ROOT / "templates" / "debian_root" / "install_debian_root.py"
        done = subprocess.run([sys.executable, str(program), file.name], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ArtefactError(done.stderr.strip())
