"""Starts `ansible-playbook` for one host, independent of the machine's own Ansible configuration."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from boxwright import places
from boxwright.engines.ansible.inventory import host_inventory
from boxwright.engines.environment import engine_environment
from boxwright.engines.process import Invocation
from boxwright.errors import EngineError
from boxwright.model.variables import Variables
from boxwright.places import ROOT
from boxwright.transport.ssh import Endpoint

_HERE = Path(__file__).parent


@contextmanager
def invocation(
    endpoint: Endpoint,
    variables: Sequence[Variables],
    roles: Sequence[str],
    *,
    dry_run: bool,
    directory: Path,
) -> Iterator[Invocation]:
    """The command that takes one host through these roles.

    Args:
        endpoint: The host.
        variables: What its roles are given.
        roles: Names of roles, in order.
        dry_run: Only tell what would change.
        directory: A private directory, where the inventory lives as long as the context.
    """
    inventory = directory / f"{endpoint.name}.inventory.json"
    _write_private(inventory, json.dumps(host_inventory(endpoint, variables, roles)))
    argv = (
        *(str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), str(_HERE / "platform.yml")),
        *("--diff", *(["--check"] if dry_run else [])),
    )
    try:
        # Mitogen makes a socket among its temporary files, and leaves it there when it is killed.
        with tempfile.TemporaryDirectory(
            prefix=f"{directory.name}-", dir=places.sockets(), ignore_cleanup_errors=True
        ) as temporary:
            yield Invocation(argv=argv, environment=_environment(endpoint, temporary), directory=ROOT)
    finally:
        inventory.unlink(missing_ok=True)


def _environment(endpoint: Endpoint, temporary: str) -> dict[str, str]:
    return engine_environment(os.environ) | {
        "TMPDIR": temporary,
        "ANSIBLE_CONFIG": str(_HERE / "ansible.cfg"),
        # From the first packet until Mitogen's Python runs there, or until that has become root.
        "ANSIBLE_TIMEOUT": str(endpoint.login_timeout_s),
        "ANSIBLE_STRATEGY_PLUGINS": str(mitogen_strategies()),
    }


def mitogen_strategies() -> Path:
    """The folder of Mitogen's strategies; looked up, not imported, as they must not be loaded outside of Ansible."""
    found = importlib.util.find_spec("ansible_mitogen")
    if found is None or not found.submodule_search_locations:
        raise EngineError("Mitogen is not installed", hint="Run through ./invoke, which makes the environment.")
    return Path(found.submodule_search_locations[0]) / "plugins" / "strategy"


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
