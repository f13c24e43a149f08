"""Operations that install Ollama and let it serve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand

from deploys.facts.files import FileState, UnpackedVersion
from deploys.facts.models import BuildFiles
from deploys.facts.ollama import GuardInForce, MisplacedModel, ProvenRequest, RegisteredModel
from deploys.facts.services import ServiceState
from deploys.operations.files import PROGRAMS
from deploys.operations.models import SendPieces

RUNNER = f"{PROGRAMS}/run-ollama.d"
_HOUR_S = 3600
_BESIDES_LOADING_S = 900  # of an instance: its start, the registration of its model, one answer


@operation()
def unpacked_ollama(folder: str, request: str, part: str, archive: str | None) -> Iterator[PyinfraCommand]:
    """Have a version of Ollama in a folder of its own. Which version serves does not change.

    Args:
        folder: Of the version.
        request: The request file that says what the archive must be, and where it may come from.
        part: Where on the box the archive arrives.
        archive: The archive on the controller, which is then sent; None: the box fetches it.
    """
    if host.get_fact(FileState, path=f"{folder}/.complete") is not None:
        host.noop(f"{folder} is there")
        return
    if archive:
        directory, _, name = part.rpartition("/")
        there = host.get_fact(BuildFiles, directory=directory, names=(name.removesuffix(".part"),))
        yield StringCommand("mkdir -p -m 700", QuoteString(directory))
        yield SendPieces(Path(archive), part, there[name].size if name in there else 0)
    yield StringCommand(f"{PROGRAMS}/install-ollama", QuoteString(request), _timeout=_HOUR_S)


@operation()
def serving_ollama(request: dict[str, Any], path: str, after: Sequence[Any] = ()) -> Iterator[PyinfraCommand]:
    """Have a version of Ollama serve, with the models registered and loaded where they belong.

    What does not come up so ends the run, and what served before comes back.

    Args:
        request: What run-ollama is asked for.
        path: Where that stands on the box.
        after: Operations that write what the instances read; lets a dry run foresee the restart.
    """
    right = [
        host.get_fact(UnpackedVersion, folder=request["destination"], marker=".complete") == request["version"],
        host.get_fact(ProvenRequest, destination=request["destination"]) == request,
        *(_serves(told) for told in request["instances"]),
    ]
    if all(right) and not any(written.changed for written in after):
        host.noop(f"{', '.join(told['unit'] for told in request['instances'])} serves")
        return
    patience = sum(2 * told["patience_s"] + _BESIDES_LOADING_S for told in request["instances"])
    # Twice, as what served before is brought up in the same way.
    yield StringCommand("python3 -I -B", RUNNER, "activate", QuoteString(path), _timeout=2 * patience)


def _serves(told: dict[str, Any]) -> bool:
    url = f"http://127.0.0.1:{told['port']}/api/version"
    now = host.get_fact(ServiceState, unit=f"{told['unit']}.service", url=url, files=tuple(told["files"]))
    known = host.get_fact(RegisteredModel, record=told["record"], store=told["store"], names=tuple(told["names"]))
    misplaced = host.get_fact(MisplacedModel, port=told["port"], placement=told["placement"])
    guarded = host.get_fact(GuardInForce, table=told["table"], port=told["port"])
    runs = now.active and now.enabled and now.serving and not now.stale and not now.reload_needed
    return bool(runs and known and guarded and not misplaced)
