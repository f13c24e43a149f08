"""The engine TensorRT-LLM: a container by digest under systemd, closed, on loopback."""

from __future__ import annotations

import json

from pyinfra import host
from pyinfra.operations import files

from deploys.operations.containers import CONTAINERS, RUNNER, engine_containers, no_older_images
from deploys.operations.engines import EngineUnit, question, serving_model, speed
from deploys.operations.files import rendered, request_text, written_file
from deploys.operations.services import serving

data = host.data
USER = "tensorrt-llm"
UNITS = "/etc/systemd/system"
CACHE = "/cache"  # in the container: kernels that were compiled and tuned, for the next start
OPTIONS = "/etc/trtllm/options.yaml"  # in the container
STOP_S = 75

engine_containers(title="TensorRT-LLM", user=USER, services=data.tensorrt_llm_services)
for service in data.tensorrt_llm_services:
    unit, settings = service["unit"], f"/etc/{service['unit']}"
    table, rules, cache = f"boxwright_{unit.replace('-', '_')}", f"{settings}/guard.nft", f"{CONTAINERS}/{unit}"
    files.directory(name=f"Make the folder of {unit}'s settings", path=settings, user="root", group="root", mode="755")
    files.directory(name=f"Make the folder that {unit} writes to", path=cache, user=USER, group=USER, mode="700")
    request = {
        "name": unit,
        "image": service["image"],
        "user": USER,
        "command": list(service["command"]),
        "environment": dict(service["environment"]),
        "devices": [f"nvidia.com/gpu={card}" for card in service["cards"]],
        "readable": {service["model_place"]: service["model_path"], OPTIONS: f"{settings}/options.yaml"},
        "writable": {CACHE: cache},
        "memory_nodes": list(service["memory_nodes"]),
    }
    texts = {
        f"{UNITS}/{unit}.service": rendered(
            "container/engine.service.j2",
            engine="TensorRT-LLM",
            unit=unit,
            settings=settings,
            table=table,
            runner=RUNNER,
            models=service["model_path"],
            stop_s=STOP_S,
            port=service["port"],
        ),
        f"{settings}/container.json": request_text(**request),
        # JSON is YAML, and quotes every text.
        f"{settings}/options.yaml": json.dumps(dict(service["options"]), indent=2, sort_keys=True) + "\n",
        rules: rendered(
            "engine_guard/guard.nft.j2", engine="TensorRT-LLM", table=table, port=service["port"], confined=USER
        ),
        f"{UNITS}/{unit}-guard.service": rendered("engine_guard/guard.service.j2", unit=unit, table=table, rules=rules),
    }
    titles = ("the unit", "what the container is told", "further options", "the rules", "the unit of the rules")
    *of_server, written_rules, written_guard = (
        written_file(name=f"Write {title} of {unit}", content=text, dest=path)
        for title, (path, text) in zip(titles, texts.items(), strict=True)
    )
    serving(
        name=f"Guard {unit}",
        unit=f"{unit}-guard.service",
        url=None,
        files=(rules, f"{UNITS}/{unit}-guard.service"),
        after=(written_rules, written_guard),
    )
    asked = (service["port"], service["model_name"], service["purpose"], None)
    serving_model(
        name=f"Serve by {unit}",
        engine=EngineUnit(
            unit=f"{unit}.service",
            serves=service["model_name"],
            url=f"http://127.0.0.1:{service['port']}/health",
            question=question(*asked),
            residency=service["residency"],
            placement=service["numa_placement"],
            speed=speed(*asked, least=service["least_tokens_per_s"]),
            written=tuple(texts),
            files=(RUNNER,),
            patience_s=service["patience_s"],
            guards=(f"{unit}-guard.service",),
        ),
        after=of_server,
    )
no_older_images(
    name="Have no image of engines older than the one before",
    wanted=[service["image"] for service in data.tensorrt_llm_services],
)
