"""The engine KTransformers: pinned wheels in an environment of their own, let in by the machine, closed on loopback."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from pyinfra import host
from pyinfra.api.exceptions import DeployError
from pyinfra.operations import files, server

from boxwright.model.ktransformers import refusal
from deploys.facts.ktransformers import Machine
from deploys.operations.engines import EngineUnit, question, serving_model, speed, unit_server
from deploys.operations.files import PROGRAMS, REQUESTS, program_text, rendered, request_text, written_file
from deploys.operations.install import folders, program
from deploys.operations.ktransformers import REPORT, converted_weights, examined
from deploys.operations.python import python_3_11, python_packages

data = host.data
USER = "ktransformers"
DESTINATION = "/opt/boxwright/ktransformers"
LISTS = Path(__file__).resolve().parent / "ktransformers"
EXPERTS = f"{PROGRAMS}/kt-experts.d"
LAUNCHER = f"{PROGRAMS}/launch-ktransformers"
REQUEST = f"{REQUESTS}/examine-ktransformers.json"

pinned = LISTS / f"requirements-{data.ktransformers_flavour}-{data.ktransformers_version}.lock"
if not pinned.exists():
    known = ", ".join(sorted(path.stem.removeprefix("requirements-") for path in LISTS.glob("*.lock")))
    wanted = f"{data.ktransformers_flavour}-{data.ktransformers_version}"
    raise DeployError(f"no locked list of packages for KTransformers {wanted}; there are: {known}")
# Before anything is installed: what the machine cannot do, it cannot do after hours of downloads either.
refused = refusal(
    data.ktransformers_methods,
    data.ktransformers_memory_bytes,
    host.get_fact(Machine),
    data.ktransformers_kernels or "",
)
if refused:
    raise DeployError(f"KTransformers cannot compute on this machine: {refused}")
# A bundle's index, which has all wheels of the list, is one of plain HTTP.
if (
    data.ktransformers_flavour == "cpu"
    and not data.ktransformers_wheels
    and not data.ktransformers_python_index.startswith("http://")
):
    raise DeployError(
        "torch for processors alone is in no Python package index: name a page or a folder that has torch 2.13.0+cpu "
        "under mirrors.wheels of the site"
    )

folders()
python_3_11(
    mirror=data.ktransformers_debian_mirror,
    keyring=data.ktransformers_debian_keyring,
    check_valid_until=data.ktransformers_debian_check_valid_until,
    proxy=data.ktransformers_proxy,
)
VERSION = python_packages(
    title=f"KTransformers {data.ktransformers_version}",
    destination=DESTINATION,
    release=f"{data.ktransformers_flavour}-{data.ktransformers_version}",
    requirements=pinned.read_text(),
    index=data.ktransformers_python_index,
    wheels=data.ktransformers_wheels,
    proxy=data.ktransformers_proxy,
)
server.user(  # noqa: S604 - `shell` is the account's
    name="Make the user ktransformers",
    user=USER,
    system=True,
    home="/nonexistent",
    create_home=False,
    ensure_home=False,
    shell="/usr/sbin/nologin",
)
files.directory(
    name="Make the folder of programs that work on experts", path=EXPERTS, user="root", group="root", mode="755"
)
for module in ("convert", "trial"):
    program(f"kt-experts.d/{module}.py", f"ktransformers/experts/{module}.py")
program("examine-ktransformers", "ktransformers/examine.py")
written_file(
    name="Write what of KTransformers is to be examined",
    content=request_text(
        environment=f"{DESTINATION}/{VERSION}",
        flavour=data.ktransformers_flavour,
        kernels=data.ktransformers_kernels,
        methods=list(data.ktransformers_methods),
        report=REPORT,
        trials=EXPERTS,
        user=USER,
    ),
    dest=REQUEST,
    mode="600",
)
examined(
    name="Examine KTransformers on this machine",
    environment=VERSION,
    kernels=data.ktransformers_kernels,
    methods=tuple(data.ktransformers_methods),
    request=REQUEST,
)
unit_server()
launcher = written_file(
    name="Write the launcher of KTransformers",
    content=program_text("ktransformers/launch_server.py"),
    dest=LAUNCHER,
    mode="755",
)
for service in data.ktransformers_services:
    unit_name = service["unit"]
    settings, unit_path = f"/etc/{unit_name}", f"/etc/systemd/system/{unit_name}.service"
    if service["converted"]:
        command = [f"{DESTINATION}/current/bin/python", f"{EXPERTS}/convert.py"]
        told = [service["model_path"], service["experts_path"], service["method"], service["pools"], service["threads"]]
        converted_weights(
            name=f"Look whether the experts of {unit_name} are converted",
            folder=service["experts_path"],
            method=service["method"],
            pools=service["pools"],
            how=shlex.join(map(str, [*command, *told])),
        )
    files.directory(
        name=f"Make the folder of {unit_name}'s settings", path=settings, user="root", group="root", mode="700"
    )
    written = [
        written_file(name=f"Write {title} of {unit_name}", content=content, dest=f"{settings}/{name}", mode="600")
        for title, name, content in (
            ("the arguments", "arguments.json", json.dumps(service["arguments"], indent=1) + "\n"),
            ("the key", "api-key", f"{data.ktransformers_api_key}\n"),
            (
                "the environment",
                "environment",
                "".join(f'{name}="{value}"\n' for name, value in sorted(service["environment"].items())),
            ),
        )
    ]
    unit = written_file(
        name=f"Write the unit {unit_name}",
        content=rendered(
            "ktransformers/ktransformers.service.j2",
            unit=unit_name,
            user=USER,
            settings=settings,
            environment_directory=f"{DESTINATION}/{VERSION}",
            launcher=LAUNCHER,
            model_directory=service["model_path"],
            experts_directory=service["experts_path"],
        ),
        dest=unit_path,
    )
    asked = (service["port"], service["model_name"], service["purpose"], data.ktransformers_api_key)
    serving_model(
        name=f"Serve by {unit_name}",
        engine=EngineUnit(
            unit=f"{unit_name}.service",
            serves="/".join(service["model_path"].split("/")[-2:]),
            url=f"http://127.0.0.1:{service['port']}/health",
            question=question(*asked),
            residency=service["residency"],
            placement=service["numa_placement"],
            speed=speed(*asked, least=service["least_tokens_per_s"]),
            written=(unit_path, *(f"{settings}/{name}" for name in ("arguments.json", "api-key", "environment"))),
            files=(LAUNCHER, f"{DESTINATION}/{VERSION}/.complete"),
            patience_s=service["patience_s"],
        ),
        after=(launcher, *written, unit),
    )
