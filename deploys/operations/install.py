"""Operations that let one of our programs on the box install something by a request file."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.operations import files

from deploys.facts.files import ConvertedModel, UnpackedVersion
from deploys.operations.files import PROGRAMS, REQUESTS, TEMPLATES, program_text, written_file

_CONVERTER = f"{PROGRAMS}/convert-gguf"
_DOWNLOAD_S = 3600  # of some hundred megabytes of packages over a slow line
_CONVERT_S = 8 * 3600  # every weight is computed: 140 GB are written of a model of 70B


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


def program_of_modules(name: str, folder: str) -> None:
    """Put one of our programs on the box that is of several modules: Python runs its folder, PROGRAMS/NAME.d.

    Args:
        name: Of the program.
        folder: Of its modules, in `templates`.
    """
    place = f"{PROGRAMS}/{name}.d"
    files.directory(name=f"Make the folder of {name}", path=place, user="root", group="root", mode="755")
    for module in sorted(path.name for path in (TEMPLATES / folder).glob("*.py")):
        written_file(
            name=f"Write the program {name}.d/{module}",
            content=program_text(f"{folder}/{module}"),
            dest=f"{place}/{module}",
        )


@operation()
def debian_root(destination: str, request: str) -> Iterator[PyinfraCommand]:
    """Have Debian packages unpacked below `destination`. Installed once and kept: a moving suite is no drift.

    Args:
        destination: The folder of versions.
        request: The request file that names packages and mirror.
    """
    if host.get_fact(UnpackedVersion, folder=destination, marker="MANIFEST") is None:
        yield StringCommand(f"{PROGRAMS}/install-debian-root", QuoteString(request), _timeout=_DOWNLOAD_S)
    else:
        host.noop(f"{destination} is installed")


@operation()
def converted_model(source: str, destination: str, python: str, version: str) -> Iterator[PyinfraCommand]:
    """Have, of a GGUF file, a folder with what engines read that take no GGUF.

    Args:
        source: The verified GGUF file.
        destination: The folder.
        python: The interpreter of an environment with transformers, torch and gguf.
        version: Of that environment.
    """
    if host.get_fact(ConvertedModel, source=source, destination=destination) == version:
        host.noop(f"{destination} was made of {source}")
        return
    yield from written_file._inner(content=program_text("models/convert_gguf.py"), dest=_CONVERTER, mode="755")
    yield StringCommand(
        *(QuoteString(python), _CONVERTER, QuoteString(source), QuoteString(destination), QuoteString(version)),
        _timeout=_CONVERT_S,
    )
