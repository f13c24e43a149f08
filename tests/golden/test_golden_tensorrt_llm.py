"""TensorRT-LLM for data-centre cards: what the box is given, and the words that run there, held against a read file.

No profile of the house serves by it. Variants of those with data-centre cards are rendered here.
After a change that is meant: `BOXWRIGHT_GOLDEN=write ./invoke test --fast --only golden`, then read the diff.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from boxwright.model.catalogues import load_accelerators, load_engine, load_models, load_profile, make_fleet
from boxwright.model.compatibility import check_stack
from boxwright.model.fleet import Fleet
from boxwright.model.platform import ContainerRuntimePolicy
from boxwright.model.site import Host, Site
from boxwright.model.variables import named
from boxwright.planning.sized_stack import size_stack
from boxwright.planning.tensorrt_llm_variables import tensorrt_llm_variables
from deploys.operations.files import rendered

HERE = Path(__file__).parent
RUNNER = HERE.parents[1] / "templates/container/run_container.py"
VARIANTS: dict[str, dict[str, Any]] = {
    "8xl40s": {"parallelism": {"tensor": 4, "pipeline": 2}},
    "2xa100": {"engine_settings": {"kv_cache_free_gpu_memory_fraction": 0.85, "enable_chunked_prefill": True}},
}


def variant(name: str) -> Fleet:
    """A profile with TensorRT-LLM in the place of its engine, on a site that has a registry of its own."""
    profile = load_profile(name)
    stack = {**profile.stack.model_dump(), "engine": "tensorrt_llm", "engine_settings": {}, **VARIANTS[name]}
    changed = profile.model_copy(
        update={
            "stack": type(profile.stack).model_validate(stack),
            "container_runtime": ContainerRuntimePolicy(gpu="nvidia"),
        }
    )
    accelerators, models = load_accelerators(), load_models()
    check_stack(changed, load_engine, accelerators, models)
    site = Site(
        name="golden",
        hosts=(Host(name="box-1", address="192.0.2.7"),),
        registry_rewrites={"nvcr.io": "mirror.example/nvcr"},
    )
    return make_fleet(size_stack(changed, models, accelerators, str)[0], site, models, accelerators)


def runner() -> ModuleType:
    found = importlib.util.spec_from_file_location("run_container", RUNNER)
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def run_words(service: dict[str, Any]) -> list[str]:
    """The words of Docker's client, as the deploy has them made."""
    request = {
        **{key: service[key] for key in ("image", "command", "environment", "memory_nodes")},
        "name": service["unit"],
        "devices": [f"nvidia.com/gpu={card}" for card in service["cards"]],
        "readable": {service["model_place"]: service["model_path"], "/etc/trtllm/options.yaml": "/etc/t/options.yaml"},
        "writable": {"/cache": "/var/lib/boxwright/containers/tensorrt-llm"},
    }
    words: list[str] = runner().command(request, 990, 991, [])
    return words


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_rendered_is_as_read(name: str) -> None:
    variables = tensorrt_llm_variables(variant(name))
    assert variables
    given = named(variables)
    (service,) = given["tensorrt_llm_services"]
    unit = rendered(
        "container/engine.service.j2",
        engine="TensorRT-LLM",
        unit=service["unit"],
        settings=f"/etc/{service['unit']}",
        table="boxwright_tensorrt_llm",
        runner="/usr/local/lib/boxwright/run-container",
        models=service["model_path"],
        stop_s=75,
        port=service["port"],
    )
    told = {"pyinfra": given, "docker": run_words(service), "unit": unit.splitlines()}
    path, text = HERE / f"tensorrt-llm-{name}.json", json.dumps(told, indent=2, sort_keys=True) + "\n"
    if os.environ.get("BOXWRIGHT_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
