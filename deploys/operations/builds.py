"""A program that is built from source for boxes of one kind: by the first of them, and never again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.connectors.util import CommandOutput

from deploys.facts.files import UnpackedVersion
from deploys.operations.box import Box, FailedError, complaint
from deploys.operations.files import PROGRAMS
from deploys.operations.shelf import Kept, Shelf

WORK = "/var/lib/boxwright/builds"  # on the box
COMPILERS = "/opt/boxwright/compilers"

_BUILD_S = 2 * 3600  # a build with CUDA on a small machine
_INSTALL_S = 300
_COMPILERS_S = 3600  # of some hundred megabytes of packages over a slow line


@dataclass(frozen=True)
class Program:
    """What is to be installed, and how.

    Attributes:
        key: Of the build.
        destination: The folder of versions on the box.
        version: The name of the folder there.
        cpu_flags: What processors must be able to do.
        check: A program of the build, and words with which it must succeed.
        requests: Of the compilers, and of the build, on the box.
        source: A file of the controller with the source, and its place on the box; None: the box fetches it.
        shelf: Folder of the controller, where builds are kept.
        compilers: The folder on the box where they are unpacked.
        lacking: Why there is no source to build from, and what to do; empty where there is.
    """

    key: str
    destination: str
    version: str
    cpu_flags: tuple[str, ...]
    check: tuple[str, ...]
    requests: tuple[str, str]
    source: tuple[Path, str] | None
    shelf: Path
    compilers: str = COMPILERS
    lacking: str = ""


class HaveProgram(StringCommand):
    """Installs a build from the shelf. Where the shelf has none, the box builds it first, and the shelf keeps it.

    Of several hosts that miss the same build, one makes it and the others wait for it.
    """

    def __init__(self, program: Program) -> None:
        super().__init__("install-program", program.version, "in", program.destination)
        self.program = program

    def execute(self, state: Any, host: Any, connector_arguments: Any) -> tuple[bool, CommandOutput]:
        """Find or make the build, bring it to the box, and install it there."""
        connector_arguments.update(self.connector_arguments)
        box = _Box(state, host, connector_arguments)
        program = self.program
        shelf = Shelf(program.shelf, program.key)
        archive = f"{WORK}/{program.key}.tar.gz"
        install = f"{PROGRAMS}/install-program"
        try:
            flags = ",".join(program.cpu_flags)
            box.must(StringCommand(install, "--processors", QuoteString(flags)), _INSTALL_S)
            with shelf.alone(_BUILD_S, box.tell):
                kept = shelf.find() or self._build(box, shelf, archive)
            box.send(kept.archive, archive, unless=kept.sha256)
        except FailedError as failed:
            return False, failed.output
        except (OSError, ValueError) as error:
            return False, complaint(f"{program.shelf}: {error}")
        words = (archive, kept.sha256, program.destination, program.version, *program.check)
        done = ("; code=$?; rm -f", QuoteString(archive), "; exit $code")
        return box.run(StringCommand(install, *(QuoteString(word) for word in words), *done), _INSTALL_S)

    def _build(self, box: _Box, shelf: Shelf, archive: str) -> Kept:
        program = self.program
        if program.lacking:
            raise FailedError(complaint(program.lacking))
        compilers, request = program.requests
        if program.source:
            box.send(*program.source)
        if box.ask(UnpackedVersion, folder=program.compilers, marker="MANIFEST") is None:
            box.tell("unpacks the compilers")
            box.must(StringCommand(f"{PROGRAMS}/install-debian-root", QuoteString(compilers)), _COMPILERS_S)
        told = box.must(StringCommand(f"{PROGRAMS}/build-program", QuoteString(request)), _BUILD_S)
        built = re.search(r"^built ([0-9a-f]{64}) ([0-9]+)$", told, re.MULTILINE)
        if built is None:
            raise FailedError(complaint("build-program did not tell what it had built"))
        box.fetch(archive, shelf.draft)
        if program.source:
            box.must(StringCommand("rm -f", QuoteString(program.source[1])), _INSTALL_S)
        return shelf.keep(built[1], int(built[2]), {"built_by": box.name, "version": program.version})


class _Box(Box):
    """Moves files, too."""

    def ask(self, fact: Any, **arguments: Any) -> Any:
        return self._host.get_fact(fact, **arguments)

    def send(self, source: Path, place: str, unless: str = "") -> None:
        """Bring a file of the controller to the box, unless the one there has this digest already."""
        folder = QuoteString(place.rpartition("/")[0])
        self.must(StringCommand("install -d -m 700", folder), _INSTALL_S)
        wanted = f"{unless}  {place}"
        if unless and self.run(StringCommand("echo", QuoteString(wanted), "| sha256sum --check --status"), 300)[0]:
            return
        temporary = self._host.get_temp_filename(place)
        if not self._host.put_file(str(source), place, remote_temp_filename=temporary, **self._arguments):
            raise FailedError(complaint(f"{source} could not be sent to {place}"))

    def fetch(self, place: str, destination: Path) -> None:
        """Bring a file of the box to the controller."""
        temporary = self._host.get_temp_filename(place)
        if not self._host.get_file(place, str(destination), remote_temp_filename=temporary, **self._arguments):
            raise FailedError(complaint(f"{place} could not be fetched"))


@operation()
def built_program(program: Program) -> Iterator[PyinfraCommand]:
    """Have a program that is built from source, and `current` in its folder pointing at it.

    Args:
        program: What, where, and how.
    """
    if host.get_fact(UnpackedVersion, folder=program.destination, marker="BUILD.json") == program.version:
        host.noop(f"{program.destination} has {program.version}")
    else:
        yield HaveProgram(program)
