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
from typing import Any

from boxwright import mirrors
from boxwright.model.debian_packages import COMPILERS, DEBIAN_KEYRING, LLAMA_CPP, UnpackedPackages
from boxwright.model.engine_settings import Release, ReleaseSource
from boxwright.model.site import Mirrors
from boxwright.serving.llama_cpp_build import pinned_source, recipe

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


def llama_server(release: Release, cache: Path) -> list[str]:
    """The command of a release's llama-server: built from the source that the table pins, or Debian's.

    Debian's packages are unpacked into a root of their own. Building takes five minutes, once.
    """
    if release.source:
        return [str(_built(release.version, release.source, cache) / "bin" / "llama-server")]
    destination = cache / "llama.cpp"
    if not (destination / "current").exists():
        _unpack_debian(destination, "llama.cpp-tools", ["usr/bin/llama-server", "--version"], LLAMA_CPP)
    return ["chroot", str(destination / "current"), "/usr/bin/llama-server"]


def llama_server_help(release: Release, cache: Path) -> str:
    """What a release's llama-server prints for `--help`.

    Raises:
        ArtefactError: It is another build than the table's.
    """
    server = llama_server(release, cache)
    told = subprocess.run([*server, "--version"], capture_output=True, text=True, check=True)
    build = re.search(r"build (\d+)", told.stdout + told.stderr)
    if build is None or f"b{build[1]}" != release.version:
        raise ArtefactError(f"{server[0]} is llama-server {build[1] if build else '?'}, not {release.version}")
    return subprocess.run([*server, "--help"], capture_output=True, text=True, check=True).stdout


def _built(version: str, source: ReleaseSource, cache: Path) -> Path:
    """The folder of a build for any processor, made by the programs that make it on boxes."""
    final = cache / "llama.cpp-built" / version
    if (final / "BUILD.json").exists():
        return final
    compilers, work = cache / "compilers", cache / "builds"
    if not (compilers / "current").exists():
        _unpack_debian(compilers, "g++-12", ["usr/bin/cmake", "--version"], COMPILERS)
    build = recipe(version, source.commit[:9], pinned_source(source), (), None)
    request = {
        "key": version,
        "work": str(work),
        "source": build.source.model_dump(),
        "compilers": str(compilers / "current"),
        "mounts": [],
        "cmake": build.cmake,
        "targets": ["llama-server"],
        "record": {"version": version},
        "fetcher": str(ROOT / "templates" / "models" / "fetch_model"),
        "python_index": mirrors.resolve(Mirrors()).python_index,
        "proxy": None,
        "no_proxy": [],
    }
    told = _run_program("built_program/build_program.py", request)
    sha256 = told.split()[-2]
    words = [str(work / f"{version}.tar.gz"), sha256, str(final.parent), version, "llama-server", "--version"]
    program = ROOT / "templates" / "built_program" / "install_program.py"
    done = subprocess.run([sys.executable, str(program), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ArtefactError(done.stderr.strip())
    return final


def _unpack_debian(destination: Path, version_of: str, check: list[str], packages: UnpackedPackages) -> None:
    found = mirrors.resolve_debian(Mirrors())
    request = {
        "destination": str(destination),
        "mirror": found.debian,
        "keyring": DEBIAN_KEYRING,
        "check_valid_until": found.check_valid_until,
        "version_of": version_of,
        "check": check,
        "chroot": True,
        "proxy": None,
        **packages.request,
    }
    _run_program("debian_root/install_debian_root.py", request)


def _run_program(template: str, request: dict[str, Any]) -> str:
    """Run one of the programs of boxes here; return what it printed."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(request, file)
        file.flush()
        words = [sys.executable, str(ROOT / "templates" / template), file.name]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ArtefactError(done.stderr.strip())
    return done.stdout
