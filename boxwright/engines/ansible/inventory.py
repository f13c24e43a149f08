"""Projects hosts onto an Ansible inventory: JSON, which Ansible reads as YAML. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from boxwright.model.variables import Variables, named
from boxwright.transport.ssh import Endpoint


def host_inventory(endpoint: Endpoint, variables: Iterable[Variables], roles: Sequence[str]) -> dict[str, Any]:
    """The inventory of one host. It holds secrets in clear: write it to a private file and nowhere else."""
    connection = {
        "ansible_host": endpoint.address,
        "ansible_port": endpoint.port,
        "ansible_user": endpoint.user,
        "ansible_become": endpoint.become,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_common_args": shlex.join(endpoint.options()),
    }
    values = {key: value for unit in variables for key, value in named(unit).items()}
    return {"all": {"hosts": {endpoint.name: connection | values | {"platform_roles": list(roles)}}}}
