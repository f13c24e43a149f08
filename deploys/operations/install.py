"""Operations that let one of our programs on the box install something by a request file."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.operations import files

from deploys.facts.files import ModelFileState, UnpackedVersion
from deploys.operations.files import PROGRAMS, REQUESTS, program_text, written_file

# The program gives up by itself on a source that falls silent; this bounds one that trickles.
_SLOWEST_BYTES_PER_S = 1_000_000
_SLOWEST_START_S = 900


def folders() -> None:
    """Make the places of programs and requests."""
    files.directory(
        name="Make the folder of Boxwright's programs", path=PROGRAMS, user="root", group="root", mode="755"
    )
    files.directory(
        name="Make the folder of requests to Boxwright's programs",
        path=REQUESTS,
        user="root",
        group="root",
        mode="700",
    )


def program(name: str, template: str) -> None:
    """Put one of our programs on the box."""
    written_file(
        name=f"Write the program {name}",
        content=program_text(template),
        dest=f"{PROGRAMS}/{name}",
        mode="755",
    )


@operation()
def fetched_model(path: str, size: int, sha256: str, request: str) -> Iterator[PyinfraCommand]:
    """Have a model file with this size and digest at `path`.

    Args:
        path: Where the file is to lie.
        size: Bytes.
        sha256: Digest of the whole file.
        request: The request file that names its source.
    """
    there = host.get_fact(ModelFileState, path=path)
    if there is None or (there.size, there.sha256) != (size, sha256):
        yield StringCommand(
            *(f"{PROGRAMS}/fetch-model", QuoteString(request), QuoteString(path.rpartition("/")[2])),
            _timeout=_SLOWEST_START_S + size // _SLOWEST_BYTES_PER_S,
        )
    elif there.access != "644 root root":
        yield StringCommand("chown root:root", QuoteString(path), "&& chmod 644", QuoteString(path))
    else:
        host.noop(f"{path} was verified")


@operation()
def debian_root(destination: str, request: str) -> Iterator[PyinfraCommand]:
    """Have Debian packages unpacked below `destination`. Installed once and kept: a moving suite is no drift.

    Args:
        destination: The folder of versions.
        request: The request file that names packages and mirror.
    """
    if host.get_fact(UnpackedVersion, folder=destination, marker="MANIFEST") is None:
        yield StringCommand(f"{PROGRAMS}/install-debian-root", QuoteString(request))
    else:
        host.noop(f"{destination} is installed")


@operation()
def python_environment(destination: str, version: str, request: str) -> Iterator[PyinfraCommand]:
    """Have the Python environment `destination/version`, and `current` pointing at it.

    Args:
        destination: The folder of versions.
        version: Named after what is in it.
        request: The request file that names the list of wheels.
    """
    if host.get_fact(UnpackedVersion, folder=destination, marker=".complete") != version:
        yield StringCommand(f"{PROGRAMS}/install-python-environment", QuoteString(request))
    else:
        host.noop(f"{destination} has {version}")
