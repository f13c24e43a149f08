"""The engine vLLM: pinned wheels in an environment of their own, as a closed service on loopback."""

from __future__ import annotations

import json
from pathlib import Path

from pyinfra import host
from pyinfra.api.exceptions import DeployError
from pyinfra.operations import files, server

from deploys.operations.engines import NODES, EngineUnit, question, serving_model, speed, unit_server
from deploys.operations.files import PROGRAMS, rendered, written_file
from deploys.operations.install import converted_model, folders, program
from deploys.operations.python import python_3_11, python_packages
from deploys.operations.ray import ray_node
from deploys.operations.services import no_other_units

data = host.data
USER = "vllm"
DESTINATION = "/opt/boxwright/vllm"
LISTS = Path(__file__).resolve().parent / "vllm"
# Builds for a processor are published under another name than the one by which vLLM asks for its own version.
ALSO = {"cpu": {"vllm": f"{data.vllm_version}+cpu"}}

pinned = LISTS / f"requirements-{data.vllm_flavour}-{data.vllm_version}.lock"
if not pinned.exists():
    known = ", ".join(sorted(path.stem.removeprefix("requirements-") for path in LISTS.glob("*.lock")))
    raise DeployError(
        f"no locked list of packages for vLLM {data.vllm_flavour}-{data.vllm_version}; there are: {known}"
    )

# What a node of a box has besides where Ray starts vLLM's processes: the few packages that vLLM's own list lacks.
ray = data.vllm_ray
lists = [pinned, *([LISTS / f"requirements-ray-{ray['release']}.lock"] if ray else [])]

folders()
python_3_11(
    mirror=data.vllm_debian_mirror,
    keyring=data.vllm_debian_keyring,
    check_valid_until=data.vllm_debian_check_valid_until,
    proxy=data.vllm_proxy,
)
VERSION = python_packages(
    title=f"vLLM {data.vllm_version}",
    destination=DESTINATION,
    release=f"{data.vllm_flavour}-{data.vllm_version}" + (f"-ray-{ray['release']}" if ray else ""),
    requirements="".join(one.read_text() for one in lists),
    index=data.vllm_python_index,
    wheels=data.vllm_wheels,
    also=ALSO.get(data.vllm_flavour),
    proxy=data.vllm_proxy,
)
unit_server()
if any(service["peers"] for service in data.vllm_services):
    program("run-node", "vllm/run_node.py")
server.user(  # noqa: S604 - `shell` is the account's
    name="Make the user vllm",
    user=USER,
    system=True,
    home="/nonexistent",
    create_home=False,
    ensure_home=False,
    shell="/usr/sbin/nologin",
)
no_other_units(
    name="Have no other unit of vLLM",
    pattern="vllm*.service",
    wanted=[f"{service['unit']}.service" for service in data.vllm_services],
)
if ray:
    ray_node(
        node=ray,
        units=[service["unit"] for service in data.vllm_services],
        user=USER,
        environment_directory=f"{DESTINATION}/{VERSION}",
        models_directory=data.vllm_models_directory,
        cards=data.vllm_flavour != "cpu",
        secret=data.vllm_api_key,
    )
no_other_units(name="Have no other unit of Ray", pattern="ray.service", wanted=["ray.service"] if ray else [])
for service in data.vllm_services:
    unit_name = service["unit"]
    settings_folder, unit_path = f"/etc/{unit_name}", f"/etc/systemd/system/{unit_name}.service"
    if service["converted_from"]:
        converted_model(
            name=f"Make the weights that {unit_name} reads of {service['converted_from'].rpartition('/')[2]}",
            source=service["converted_from"],
            destination=service["model_path"],
            python=f"{DESTINATION}/{VERSION}/bin/python",
            version=VERSION,
        )
    files.directory(
        name=f"Make the folder of {unit_name}'s settings", path=settings_folder, user="root", group="root", mode="700"
    )
    # JSON is YAML, and quotes every text.
    told = {
        "model": service["model_path"],
        "served-model-name": list(service["model_names"]),
        "host": "127.0.0.1",
        "port": service["port"],
        "api-key": [data.vllm_api_key],
    }
    config = written_file(
        name=f"Write what {unit_name} is told",
        content=json.dumps(told | service["settings"], indent=2, sort_keys=True) + "\n",
        dest=f"{settings_folder}/config.yaml",
        mode="600",
    )
    environment = written_file(
        name=f"Write the environment of {unit_name}",
        content="".join(f'{name}="{value}"\n' for name, value in sorted(service["environment"].items())),
        dest=f"{settings_folder}/environment",
        mode="600",
    )
    unit = written_file(
        name=f"Write the unit {unit_name}",
        content=rendered(
            "vllm/vllm.service.j2",
            unit=unit_name,
            user=USER,
            settings=settings_folder,
            environment_directory=f"{DESTINATION}/{VERSION}",
            model_directory=service["model_path"],
            cards=data.vllm_flavour != "cpu",
            numa_policy=service["numa_policy"],
            numa_nodes=service["numa_nodes"],
            node_address=service["node_address"],
            rank=0 if service["answers"] else 1,
            answers=service["answers"],
            port=service["port"],
            head_address=service["head_address"],
            runner=f"{PROGRAMS}/run-node",
            lifeline_port=service["lifeline_port"],
            box_settings=service["box_settings"],
            nodes_folder=NODES,
            peers=service["peers"],
            ray=f"{ray['head_address']}:{ray['port']}" if ray else "",
            mig=service["mig"],
        ),
        dest=unit_path,
    )
    asked = (service["port"], service["model_names"][0], service["purpose"], data.vllm_api_key)
    serving_model(
        name=f"Serve by {unit_name}",
        engine=EngineUnit(
            unit=f"{unit_name}.service",
            serves=service["model_names"][0],
            # A node that only lends its cards has no door of its own: it serves when its head is proven to.
            url=f"http://127.0.0.1:{service['port']}/health" if service["answers"] else None,
            question=question(*asked) if service["answers"] else None,
            residency=service["residency"],
            placement=service["numa_placement"],
            speed=speed(*asked, least=service["least_tokens_per_s"]) if service["answers"] else None,
            written=(unit_path, f"{settings_folder}/config.yaml", f"{settings_folder}/environment"),
            files=(f"{DESTINATION}/{VERSION}/.complete",),
            patience_s=service["patience_s"],
            box={"leads": service["answers"], "settings": service["box_settings"]} if service["box_settings"] else None,
        ),
        after=(config, environment, unit),
    )
