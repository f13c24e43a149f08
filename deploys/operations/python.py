"""An interpreter of our own on the box, and environments of pinned wheels for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.operations import files

from boxwright.model.debian_packages import PYTHON_3_11
from deploys.facts.files import UnpackedVersion
from deploys.operations.files import PROGRAMS, REQUESTS, request_text, written_file
from deploys.operations.install import debian_root, program

PYTHON = "/opt/boxwright/python3.11"
WHEELS = "/var/lib/boxwright/wheels"
UV = "/opt/boxwright/uv"
UV_LIST = Path(__file__).resolve().parents[1] / "python/requirements-uv.lock"

# A large list, such as an engine's with CUDA, takes its time to come in and to be unpacked: 5 GB at 3 Mbit/s.
_HOURS_AT_MOST = 4


def python_3_11(*, mirror: str, keyring: str, check_valid_until: bool, proxy: str | None) -> None:
    """Have Python 3.11 at `PYTHON`: Debian 12's own packages, on every Debian, beside the system's Python.

    Args:
        mirror: Debian mirror with the suite bookworm.
        keyring: File on the box with the keys that its lists are signed by.
        check_valid_until: False only for a mirror that is frozen on purpose; signatures are checked all the same.
        proxy: For the mirror.
    """
    request = f"{REQUESTS}/python3.11.json"
    program("install-debian-root", "debian_root/install_debian_root.py")
    written_file(
        name="Write what packages Python 3.11 needs, and from where",
        content=request_text(
            destination=PYTHON,
            mirror=mirror,
            keyring=keyring,
            check_valid_until=check_valid_until,
            version_of="python3.11",
            check=["usr/bin/python3.11", "-c", "import bz2, ctypes, lzma, sqlite3, ssl, venv, zlib"],
            chroot=False,
            proxy=proxy,
            **PYTHON_3_11.request,
        ),
        dest=request,
        mode="600",
    )
    debian_root(name="Unpack Python 3.11", destination=PYTHON, request=request)


def python_packages(
    *,
    title: str,
    destination: str,
    release: str,
    requirements: str,
    index: str,
    proxy: str | None,
    wheels: Sequence[str] = (),
    also: Mapping[str, str] | None = None,
    link: str = "current",
) -> str:
    """Have an environment of these wheels below `destination`, and a link pointing at it.

    Args:
        title: What is installed, for people.
        destination: The folder of versions.
        release: Begins the version's name; a digest of the list ends it.
        requirements: A pip list with the digest of every wheel.
        index: Python package index.
        proxy: For the index.
        wheels: Where wheels are that the index does not have: addresses of pages, or folders of the controller.
        also: Names and versions under which a distribution is found besides its own.
        link: Name of the link.

    Returns:
        The version's name.
    """
    version = f"{release}-{_named(requirements)}"
    name = destination.rpartition("/")[2]
    listed, request = f"{REQUESTS}/{name}-requirements.lock", f"{REQUESTS}/{name}.json"
    pages = [place for place in wheels if place.startswith("http")]
    carried = _wanted([Path(place).expanduser() for place in wheels if not place.startswith("http")], requirements)
    program("install-python-environment", "python_environment/install_python_environment.py")
    written_file(name=f"Write the pinned list of packages of {title}", content=requirements, dest=listed, mode="600")
    written_file(
        name=f"Write where the packages of {title} come from",
        content=request_text(
            python=f"{PYTHON}/current",
            destination=destination,
            version=version,
            requirements=listed,
            index=index,
            wheels=[*pages, *([WHEELS] if carried else [])],
            also=also or {},
            link=link,
            proxy=proxy,
            uv=_uv(),
        ),
        dest=request,
        mode="600",
    )
    for wheel in carried:
        _carried_wheel(
            name=f"Carry over {wheel.name}",
            wheel=str(wheel),
            destination=destination,
            version=version,
            link=link,
            _timeout=3600,  # a gigabyte; other machines may share the line
        )
    python_environment(name=f"Install {title}", destination=destination, version=version, request=request, link=link)
    return version


def _uv() -> dict[str, str]:
    """Where uv belongs, and what is pinned of it."""
    listed = UV_LIST.read_text(encoding="utf-8")
    release = listed.split(maxsplit=1)[0].replace("==", "-")
    return {"destination": UV, "version": f"{release}-{_named(listed)}", "list": listed}


def _named(listed: str) -> str:
    """The end of a version's name: of what list it is."""
    return hashlib.sha256(listed.encode()).hexdigest()[:12]


def _wanted(folders: Sequence[Path], requirements: str) -> list[Path]:
    """The wheels in these folders that the list pins."""
    found = [wheel for folder in folders for wheel in sorted(folder.glob("*.whl"))]
    return [wheel for wheel in found if f"sha256:{_digest(wheel)}" in requirements]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@operation()
def _carried_wheel(wheel: str, destination: str, version: str, link: str) -> Iterator[PyinfraCommand]:
    """Bring a wheel from the controller for an environment that is still to be installed; it removes them after."""
    if host.get_fact(UnpackedVersion, folder=destination, marker=".complete", link=link) == version:
        host.noop(f"{destination} has {version}")
        return
    yield from files.put._inner(
        src=wheel, dest=f"{WHEELS}/{wheel.rpartition('/')[2]}", mode="644", create_remote_dir=True
    )


@operation()
def python_environment(destination: str, version: str, request: str, link: str = "current") -> Iterator[PyinfraCommand]:
    """Have the Python environment `destination/version`, and a link pointing at it.

    Args:
        destination: The folder of versions.
        version: Named after what is in it.
        request: The request file that names the list of wheels.
        link: Name of the link.
    """
    if host.get_fact(UnpackedVersion, folder=destination, marker=".complete", link=link) != version:
        yield StringCommand(
            f"{PYTHON}/current/usr/bin/python3.11",
            *(f"{PROGRAMS}/install-python-environment", QuoteString(request), "&& rm -rf", WHEELS),
            _timeout=_HOURS_AT_MOST * 3600,
        )
    else:
        host.noop(f"{destination} has {version}")
