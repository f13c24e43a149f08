#!/usr/bin/python3
"""Install a hash-pinned list of wheels into a versioned Python environment.

Usage: install-python-environment REQUEST, by the Python 3.11 that the environment is for

REQUEST is a JSON file: `python` (an unpacked interpreter, see install-debian-root), `destination`, `version`,
`requirements` (a pip list with hashes that holds every dependency), `index`, `wheels` (pages or a folder of wheels that
the index does not have), `also` (a name and version under which a distribution is found besides its own), `link`,
`proxy`, and `uv`, which installs the list and is itself installed by the interpreter's pip: its `destination`,
`version`, and the text of its `list`. The environment has no pip of its own. `DESTINATION/LINK` points at the version
completed last; the one before it is kept, and what other links there point at; older ones go.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
ARCHIVES = "WHEELS"  # names each wheel with the digest of its archive
COMPLETE = ".complete"  # written last: an environment without it is the rest of a killed run
PINNED = r"^([\w.-]+)(?:\[[^]]*\])? *== *([^\s;]+)(.*)$"  # name, version, and what else the line says
COMPILED_TOGETHER = 250  # files: enough that starting a process for them is a small part of the work
PATIENCE_S = "300"  # of a mirror that is silent


class InstallError(Exception):
    """The environment cannot be made; the message says why."""


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-10:])
        raise InstallError(f"{' '.join(command[:4])} failed with exit code {done.returncode}:\n{tail}")


def _build(folder: Path, request: dict[str, Any]) -> None:
    root = Path(request["python"]).resolve()
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
    _run([str(root / "usr/bin/python3.11"), "-m", "venv", "--without-pip", str(folder)], environment)
    (pip,) = (root / "usr/share/python-wheels").glob("pip-*.whl")
    if request["proxy"]:
        environment |= {"http_proxy": request["proxy"], "https_proxy": request["proxy"]}
    if request["uv"]:
        _by_uv(_uv(request), pip, folder, request, environment)
    else:
        _by_pip(pip, folder, request, environment)
    for name, version in request["also"].items():
        _also(folder, name, version)
    _compile(folder / "bin/python", folder / "lib", environment, at_once=len(os.sched_getaffinity(0)))
    (folder / COMPLETE).touch()


def _compile(python: Path, folder: Path, environment: dict[str, str], *, at_once: int) -> None:
    """Compile what lies there, to the same bits on any machine.

    What Python makes of a file depends in single bits on what the same process compiled before it: on the names that it
    has met. So each process is given a part that no number of processors changes, as `compileall -j` does not.
    """
    files = sorted(str(path) for path in folder.rglob("*.py"))
    parts = [files[start : start + COMPILED_TOGETHER] for start in range(0, len(files), COMPILED_TOGETHER)]
    command = [str(python), "-m", "compileall", "-q", "-i", "-"]

    def compiled(part: list[str]) -> None:
        # A wheel may carry files that this Python cannot compile (templates, tests of newer syntax): they are not used.
        listed = os.fsencode("\n".join(part))
        subprocess.run(command, env=environment, input=listed, capture_output=True, check=False)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(compiled, parts))


def _uv(request: dict[str, Any]) -> Path:
    """Have uv, which takes a fifth of pip's time over a long list."""
    wanted = request["uv"]
    destination = Path(wanted["destination"])
    destination.mkdir(mode=0o755, parents=True, exist_ok=True)
    listed = destination / "requirements.lock"
    listed.write_text(wanted["list"])
    own = {"version": wanted["version"], "requirements": str(listed), "link": "current"}
    install({**request, **own, "destination": str(destination), "wheels": [], "also": {}, "uv": None})
    return destination / "current/bin/uv"


def _by_pip(pip: Path, folder: Path, request: dict[str, Any], environment: dict[str, str]) -> None:
    settings = {
        "PIP_CERT": AUTHORITIES,
        "PIP_CONFIG_FILE": os.devnull,  # the request says it all
        "PIP_INDEX_URL": request["index"],
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_RETRIES": "5",
    }
    if request["index"].startswith("http://"):  # as a bundle's: the list's digests decide what is installed
        settings["PIP_TRUSTED_HOST"] = urlsplit(request["index"]).netloc
    installing = [str(folder / "bin/python"), f"{pip}/pip", "install", "--quiet"]
    rules = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-compile"]
    report = folder / ".report.json"
    listed = ["--requirement", request["requirements"], "--report", str(report)]
    _run([*installing, *rules, *listed], environment | settings)
    _note_archives(report, folder / ARCHIVES)


def _by_uv(uv: Path, pip: Path, folder: Path, request: dict[str, Any], environment: dict[str, str]) -> None:
    """Choose a wheel for each line of the list, note it, and install exactly these."""
    cache = folder / ".cache"  # of the environment's file system: what is unpacked there is linked, not copied
    settings = {
        "SSL_CERT_FILE": AUTHORITIES,
        "UV_CACHE_DIR": str(cache),
        "UV_DEFAULT_INDEX": request["index"],  # no argument: it may hold credentials
        "UV_FIND_LINKS": ",".join(request["wheels"]),
        "UV_HTTP_TIMEOUT": PATIENCE_S,
        "UV_PYTHON_DOWNLOADS": "never",
    }
    rules = ["--quiet", "--no-config", "--no-deps", "--only-binary", ":all:", "--python", str(folder / "bin/python")]
    offers, chosen, listed = folder / "pylock.toml", folder / ".chosen.lock", Path(request["requirements"])
    finding = [str(uv), "pip", "compile", *rules, "--format", "pylock.toml", "--output-file", str(offers), str(listed)]
    _run(finding, environment | settings)
    rows = _chosen(tomllib.loads(offers.read_text())["packages"], listed.read_text(), pip)
    chosen.write_text("".join(f"{name}=={version} --hash=sha256:{sha256}\n" for name, version, sha256 in rows))
    _run(
        [str(uv), "pip", "install", *rules, "--require-hashes", "--requirement", str(chosen)],
        environment | settings,
    )
    (folder / ARCHIVES).write_text(_noted(rows))
    shutil.rmtree(cache)
    offers.unlink()  # it holds the index's addresses
    chosen.unlink()


def _chosen(packages: Iterable[Mapping[str, Any]], listed: str, pip: Path) -> list[tuple[str, str, str]]:
    """Name, version and digest of the wheel to take of each package: of those that are pinned, this Python's best."""
    sys.path.append(str(pip))
    from pip._vendor.packaging.tags import sys_tags  # noqa: PLC0415 - the interpreter's pip brings it
    from pip._vendor.packaging.utils import canonicalize_name, parse_wheel_filename  # noqa: PLC0415

    pins = {
        (canonicalize_name(name), version): re.findall(r"--hash=sha256:([0-9a-f]{64})", hashes)
        for name, version, hashes in re.findall(PINNED, listed.replace("\\\n", " "), re.MULTILINE)
    }
    ranks = {tag: rank for rank, tag in enumerate(sys_tags())}
    rows = []
    for package in packages:
        name, version = package["name"], package["version"]
        fitting = []
        for wheel in package.get("wheels", ()):
            sha256, file = wheel["hashes"].get("sha256"), unquote(wheel["url"].rpartition("/")[2])
            own = [ranks[tag] for tag in parse_wheel_filename(file)[3] if tag in ranks]
            if own and sha256 in pins.get((canonicalize_name(name), version), ()):
                fitting.append((min(own), sha256))
        if not fitting:
            raise InstallError(f"no wheel that the list pins of {name} {version} is to be had for this Python")
        rows.append((name, version, min(fitting)[1]))
    return rows


def _note_archives(report: Path, note: Path) -> None:
    """Keep, of what pip tells of an installation, the digest of each wheel: the wheels themselves are not kept.

    The report goes: it names the index, with credentials where its address has some.
    """
    told = json.loads(report.read_text())["install"]
    report.unlink()
    rows = (
        (one["metadata"]["name"], one["metadata"]["version"], _sha256(one["download_info"]["archive_info"]))
        for one in told
    )
    note.write_text(_noted(row for row in rows if row[2]))


def _sha256(archive: dict[str, Any]) -> str:
    """The digest of a wheel's archive; empty where pip tells one of another kind alone.

    Of a wheel whose address does not tell it, such as one out of a folder, pip 23.0.1 fills in `hash` alone.
    """
    kind, _, digest = archive.get("hash", "").partition("=")
    return str(archive.get("hashes", {}).get("sha256") or (digest if kind == "sha256" else ""))


def _noted(rows: Iterable[tuple[str, str, str]]) -> str:
    return "".join(f"{name}=={version} {sha256}\n" for name, version, sha256 in sorted(rows))


def _also(folder: Path, name: str, version: str) -> None:
    """Let code that asks for the version of `name` find one: builds for a processor have names of their own."""
    (packages,) = (folder / "lib").glob("python3*/site-packages")
    known = packages / f"{name}-{version}.dist-info"
    known.mkdir()
    (known / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (known / "RECORD").touch()


def install(request: dict[str, Any]) -> None:
    """Build the environment unless it is complete, and point `current` at it."""
    destination = Path(request["destination"])
    destination.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (destination / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder, link = destination / request["version"], destination / request["link"]
        if not (folder / COMPLETE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            _build(folder, request)
            os.sync()
        before = str(link.readlink()) if link.is_symlink() else request["version"]
        draft = destination / f".{link.name}.new"
        draft.unlink(missing_ok=True)
        draft.symlink_to(request["version"])
        draft.replace(link)
        kept = {before, *(str(other.readlink()) for other in destination.iterdir() if other.is_symlink())}
        for other in destination.iterdir():
            if other.is_dir() and not other.is_symlink() and other.name not in kept:
                shutil.rmtree(other)


def main(arguments: list[str]) -> int:
    """Install what the request file says."""
    os.umask(0o022)
    try:
        install(json.loads(Path(arguments[0]).read_text()))
    except (InstallError, OSError) as error:
        print(f"install-python-environment: {error}", file=sys.stderr)  # noqa: T201 - a program of its own on the box
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
