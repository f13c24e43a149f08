"""Operations for engines that run in containers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.operations import files, server

from deploys.facts.containers import (
    IMAGES,
    PULLED,
    PULLS,
    SERVED,
    ContainerImage,
    EngineContainers,
    EngineImages,
)
from deploys.operations.engines import unit_server
from deploys.operations.files import PROGRAMS, written_file
from deploys.operations.install import folders, program
from deploys.operations.services import no_other_units

RUNNER = f"{PROGRAMS}/run-container"
_PULLER = f"{PROGRAMS}/pull-image"
CONTAINERS = "/var/lib/boxwright/containers"  # what containers may write to, by the names of their units

_PULL_S = 4 * 3600  # an image of 40 GB over a slow line
_REMOVE_S = 1800  # 59 GB of small files on a slow disk


def engine_containers(*, title: str, user: str, services: Sequence[Mapping[str, Any]]) -> None:
    """Have what containers of an engine need to serve, and no container or unit of it that is not wanted.

    Args:
        title: The engine, in words.
        user: The account of its containers, and how its units' names begin.
        services: Each with the name of its `unit` and its `image`.
    """
    folders()
    program("pull-image", "container/pull_image.py")
    program("run-container", "container/run_container.py")
    files.directory(
        name="Make the folder of what containers write", path=CONTAINERS, user="root", group="root", mode="755"
    )
    unit_server()
    server.user(  # noqa: S604 - `shell` is the account's
        name=f"Make the user {user}",
        user=user,
        system=True,
        home="/nonexistent",
        create_home=False,
        ensure_home=False,
        shell="/usr/sbin/nologin",
    )
    wanted = sorted({service["unit"] for service in services})
    no_other_units(
        name=f"Have no other unit of {title}",
        pattern=f"{user}*.service",
        wanted=[f"{unit}{end}.service" for unit in wanted for end in ("", "-guard")],
    )
    no_other_containers(name="Have no other container of an engine", wanted=wanted)
    for image in dict.fromkeys(service["image"] for service in services):
        container_image(name=f"Have the image {image.rpartition('@')[0] or image[:19]}", image=image)


@operation()
def no_other_containers(wanted: Sequence[str]) -> Iterator[PyinfraCommand]:
    """Have no container of an engine but these: one whose unit ended as it was being made may have stayed.

    Args:
        wanted: Names.
    """
    found = sorted(set(host.get_fact(EngineContainers)) - set(wanted))
    if not found:
        host.noop("there are no others")
        return
    yield StringCommand("docker rm --force", *(QuoteString(name) for name in found), ">/dev/null")


@operation()
def container_image(image: str) -> Iterator[PyinfraCommand]:
    """Have a container image, by its digest.

    Args:
        image: `NAME@sha256:DIGEST`, which is pulled where it is missing, or the id of an image, which has to be there.
    """
    if host.get_fact(ContainerImage, image=image):
        host.noop(f"{image} is there")
        return
    if "@" in image:
        yield StringCommand("python3 -I -B", _PULLER, QuoteString(image), PULLS, PULLED, _timeout=_PULL_S)
        return
    yield StringCommand(
        "echo",
        QuoteString(f"this box has no image {image}, and an image without a name is nowhere else: load it first"),
        ">&2; exit 1",
    )


@operation()
def no_older_images(wanted: Sequence[str]) -> Iterator[PyinfraCommand]:
    """Have no image that Boxwright pulled but these, which serve by now, and those that served before, for a way back.

    Args:
        wanted: As `container_image` takes them. What somebody else's container is made of stays.
    """
    known, serving = host.get_fact(EngineImages), sorted(set(wanted))
    before = known["before"]
    if serving != known["serving"]:
        before = known["serving"]
        yield StringCommand("mkdir -p", IMAGES)
        yield from written_file._inner(content=json.dumps({"serving": serving, "before": before}) + "\n", dest=SERVED)
    old = sorted(set(known["pulled"]) - {*serving, *before})
    for image in old:
        note = f"{PULLED}/{image.rpartition(':')[2]}"
        yield StringCommand(
            *("if docker image inspect", QuoteString(image), ">/dev/null 2>&1; then docker image rm"),
            *(QuoteString(image), ">/dev/null || echo", QuoteString(f"{image} stays: it is in use"), ">&2; fi;"),
            *("rm -f", QuoteString(note)),
            _timeout=_REMOVE_S,
        )
    if serving == known["serving"] and not old:
        host.noop("there is none")
