"""A node of a Ray cluster: the way in which a profile may have vLLM's processes started on several machines."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from pyinfra.operations import files

from deploys.operations.files import rendered, written_file
from deploys.operations.services import serving

SETTINGS = "/etc/ray"
UNIT = "/etc/systemd/system/ray.service"


def ray_node(
    *,
    node: Mapping[str, Any],
    units: Sequence[str],
    user: str,
    environment_directory: str,
    models_directory: str,
    cards: bool,
    secret: str,
) -> None:
    """Have Ray run, as the node that leads or as another one, closed to everybody but the nodes of the box.

    Args:
        node: `RayNode` of `boxwright.model.deploy_variables`.
        units: Of vLLM on this node, without `.service`; the cluster starts and stops with the first.
        user: Who runs it.
        environment_directory: The Python environment that Ray and vLLM are in.
        models_directory: Which its processes may read.
        cards: Whether the machine has any.
        secret: The key of the box's engines, which all its nodes have; Ray's token is made of it.
    """
    files.directory(name="Make the folder of Ray's settings", path=SETTINGS, user="root", group="root", mode="700")
    token = written_file(
        name="Write the token that Ray asks for",
        content=hashlib.sha256(f"ray {secret}".encode()).hexdigest() + "\n",
        dest=f"{SETTINGS}/token",
        mode="600",
        secret=True,
    )
    environment = written_file(
        name="Write the environment of Ray's processes",
        content="".join(f'{name}="{value}"\n' for name, value in sorted(node["environment"].items())),
        dest=f"{SETTINGS}/environment",
        mode="600",
    )
    unit = written_file(
        name="Write the unit of Ray",
        content=rendered(
            "vllm/ray.service.j2",
            unit=next(iter(units), ""),
            user=user,
            environment_directory=environment_directory,
            models_directory=models_directory,
            cards=cards,
            **{name: node[name] for name in ("leads", "head_address", "port", "address", "peers")},
        ),
        dest=UNIT,
    )
    serving(
        name="Have Ray run",
        unit="ray.service",
        url=None,
        files=(UNIT, f"{SETTINGS}/token", f"{SETTINGS}/environment"),
        after=(token, environment, unit),
        patience_s=300,
    )
