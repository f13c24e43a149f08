"""vLLM in its vendors' containers: what the box is given, and the words that run there, held against a read file.

After a change that is meant: `BOXWRIGHT_GOLDEN=write ./invoke test --fast --only golden`, then read the diff.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from template_rendering import artefacts_for
from test_golden_tensorrt_llm import runner

from boxwright.model.catalogues import load_accelerators, load_engine, load_models, load_profile, make_fleet
from boxwright.model.compatibility import check_stack
from boxwright.model.fleet import Fleet
from boxwright.model.site import EngineImage, Host, Site
from boxwright.model.variables import named
from boxwright.planning.site_images import with_images
from boxwright.planning.sized_stack import size_stack
from boxwright.planning.vllm_container_variables import vllm_container_variables
from boxwright.vault import SECRET_NAMES, HostSecrets
from deploys.operations.files import rendered
from deploys.operations.vllm_container import config_text, container_request

HERE = Path(__file__).parent
IMAGES = (
    EngineImage(engine="vllm_ascend", version="0.23.0", image=f"quay.io/ascend/vllm-ascend@sha256:{'a' * 64}"),
    EngineImage(engine="vllm_rocm", version="0.23.0", image=f"rocm/vllm@sha256:{'b' * 64}"),
)
SECRETS = HostSecrets(**{name: SecretStr(f"the-{name}-of-the-golden-test") for name in SECRET_NAMES})
VARIANTS: dict[str, dict[str, Any]] = {
    "8x910b": {},
    "8xmi300x": {},
    # A part of the cards, by one node's memory.
    "8xmi300x-half": {
        "model": "deepseek-r1-distill-llama-70b",
        "accelerators": (0, 1, 2, 3),
        "numa": {"policy": "bind", "nodes": (0,)},
    },
}


def variant(name: str) -> Fleet:
    profile = load_profile(name.removesuffix("-half"))
    stack = type(profile.stack).model_validate(profile.stack.model_dump(exclude_unset=True) | VARIANTS[name])
    artefacts = artefacts_for(profile).model_copy(update={"images": IMAGES})
    site = Site(
        name="golden",
        hosts=(Host(name="box-1", address="192.0.2.7"),),
        artefacts=artefacts,
        registry_rewrites={"quay.io": "mirror.example/quay"},
    )
    profile = with_images(profile.model_copy(update={"stack": stack}), site)
    accelerators, models = load_accelerators(), load_models()
    check_stack(profile, load_engine, accelerators, models)
    return make_fleet(size_stack(profile, models, accelerators, str)[0], site, models, accelerators)


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_rendered_is_as_read(name: str) -> None:
    (variables,) = vllm_container_variables(variant(name), SECRETS)
    given = named(variables)
    (service,) = given[f"{variables.unit}_services"]
    unit = service["unit"]
    request = container_request(unit, service, f"/etc/{unit}", f"/var/lib/boxwright/containers/{unit}")
    told = {
        "pyinfra": given,
        "docker": runner().command(request, 990, 991, [44, 105]),
        "config": json.loads(config_text(service, given[f"{variables.unit}_api_key"])),
        "unit": rendered(
            "container/engine.service.j2",
            engine="vLLM",
            unit=unit,
            settings=f"/etc/{unit}",
            table="boxwright_vllm",
            runner="/usr/local/lib/boxwright/run-container",
            models=service["model_path"],
            stop_s=75,
            port=service["port"],
        ).splitlines(),
    }
    assert SECRETS.engine_key.get_secret_value() not in json.dumps(told["docker"])
    path, text = HERE / f"vllm-container-{name}.json", json.dumps(told, indent=2, sort_keys=True) + "\n"
    if os.environ.get("BOXWRIGHT_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
