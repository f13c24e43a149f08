"""vLLM in a vendor's container: what the deploys for AMD's and for Huawei's cards share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pyinfra.operations import files

from deploys.operations.containers import CONTAINERS, RUNNER, engine_containers, no_older_images
from deploys.operations.engines import EngineUnit, question, serving_model, speed
from deploys.operations.files import rendered, request_text, written_file
from deploys.operations.services import serving

UNITS = "/etc/systemd/system"
CACHE = "/cache"  # in the container: kernels that were compiled and tuned, for the next start
CONFIG = "/etc/vllm/config.yaml"  # in the container
STOP_S = 75


def vllm_containers(*, title: str, user: str, services: Sequence[Mapping[str, Any]], api_key: str) -> None:
    """Have each service serve from its container, and no other of the kind.

    Args:
        title: The engine, in words.
        user: The account of its containers, and how its units' names begin.
        services: `VllmContainerService` of `boxwright.model.deploy_variables`.
        api_key: Key that every request under `/v1` must carry.
    """
    engine_containers(title=title, user=user, services=services)
    for service in services:
        _served(title, user, service, api_key)
    no_older_images(
        name="Have no image of engines older than the one before", wanted=[service["image"] for service in services]
    )


def _served(title: str, user: str, service: Mapping[str, Any], api_key: str) -> None:
    unit, settings = service["unit"], f"/etc/{service['unit']}"
    cache = f"{CONTAINERS}/{unit}"
    files.directory(name=f"Make the folder of {unit}'s settings", path=settings, user="root", group="root", mode="755")
    files.directory(name=f"Make the folder that {unit} writes to", path=cache, user=user, group=user, mode="700")
    guard = _guarded(title, user, service, settings)
    texts = _texts(title, user, service, settings, api_key)
    written = [
        written_file(
            name=f"Write {what} of {unit}",
            content=text,
            dest=path,
            # The key stands in it: the container's account reads it, and nobody else does.
            **({"mode": "400", "user": user, "group": user} if path.endswith("config.yaml") else {}),
        )
        for what, path, text in texts
    ]
    asked = (service["port"], service["model_names"][0], service["purpose"], api_key)
    serving_model(
        name=f"Serve by {unit}",
        engine=EngineUnit(
            unit=f"{unit}.service",
            serves=service["model_names"][0],
            url=f"http://127.0.0.1:{service['port']}/health",
            question=question(*asked),
            residency=service["residency"],
            placement=service["numa_placement"],
            speed=speed(*asked, least=service["least_tokens_per_s"]),
            written=(*(path for _, path, _ in texts), *guard),
            files=(RUNNER,),
            patience_s=service["patience_s"],
            guards=(f"{unit}-guard.service",),
        ),
        after=written,
    )


def container_request(user: str, service: Mapping[str, Any], settings: str, cache: str) -> dict[str, Any]:
    """What the program that runs containers is told. The key is not among it."""
    serve = ["serve", "--config", CONFIG]
    return {
        "name": service["unit"],
        "image": service["image"],
        "user": user,
        "groups": list(service["groups"]),
        "entrypoint": service["entrypoint"],
        "command": serve if service["entrypoint"] else ["vllm", *serve],
        "environment": dict(service["environment"]),
        "devices": list(service["devices"]),
        "readable": {
            service["model_place"]: service["model_path"],
            CONFIG: f"{settings}/config.yaml",
            **{path: path for path in service["readable"]},
        },
        "writable": {CACHE: cache},
        "folder": CACHE,
        "memory_nodes": list(service["memory_nodes"]),
    }


def config_text(service: Mapping[str, Any], api_key: str) -> str:
    """What vLLM is told. JSON is YAML, and quotes every text."""
    told = {
        "model": service["model_place"],
        "served-model-name": list(service["model_names"]),
        "host": "127.0.0.1",
        "port": service["port"],
        "api-key": [api_key],
    }
    return json.dumps(told | dict(service["settings"]), indent=2, sort_keys=True) + "\n"


def _texts(
    title: str, user: str, service: Mapping[str, Any], settings: str, api_key: str
) -> tuple[tuple[str, str, str], ...]:
    """What is written of a service: in words, where, and what."""
    unit = service["unit"]
    request = container_request(user, service, settings, f"{CONTAINERS}/{unit}")
    unit_text = rendered(
        "container/engine.service.j2",
        engine=title,
        unit=unit,
        settings=settings,
        table=_table(unit),
        runner=RUNNER,
        models=service["model_path"],
        stop_s=STOP_S,
        port=service["port"],
    )
    return (
        ("the unit", f"{UNITS}/{unit}.service", unit_text),
        ("what the container is told", f"{settings}/container.json", request_text(**request)),
        ("what vLLM is told", f"{settings}/config.yaml", config_text(service, api_key)),
    )


def _guarded(title: str, user: str, service: Mapping[str, Any], settings: str) -> tuple[str, str]:
    """Have the rules that close the container; the files that they are made of."""
    unit = service["unit"]
    rules, guard = f"{settings}/guard.nft", f"{UNITS}/{unit}-guard.service"
    text = rendered(
        "engine_guard/guard.nft.j2", engine=title, table=_table(unit), port=service["port"], confined=user, keyed=True
    )
    written = [
        written_file(name=f"Write the rules of {unit}", content=text, dest=rules),
        written_file(
            name=f"Write the unit of the rules of {unit}",
            content=rendered("engine_guard/guard.service.j2", unit=unit, table=_table(unit), rules=rules),
            dest=guard,
        ),
    ]
    serving(name=f"Guard {unit}", unit=f"{unit}-guard.service", url=None, files=(rules, guard), after=written)
    return rules, guard


def _table(unit: str) -> str:
    return f"boxwright_{unit.replace('-', '_')}"
