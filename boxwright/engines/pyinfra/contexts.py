"""pyinfra's `state` and `inventory` globals, made one per host.

pyinfra keeps `host` and `config` per greenlet, but `state` and `inventory` per process, since its own runs
share one State. Here every host has its own. gevent gives the greenlets that one greenlet starts a common
dictionary, so that the Python callbacks, which pyinfra runs in greenlets of their own, see their host's State
too.
"""

from __future__ import annotations

from typing import Any

from gevent import getcurrent
from pyinfra.api import Config, State
from pyinfra.context import ctx_config, ctx_host, ctx_inventory, ctx_state


class _PerHost:
    """Stands in for the container in which a pyinfra context keeps its object."""

    def __init__(self, key: str) -> None:
        self._key = key

    @property
    def module(self) -> Any:
        return getattr(getcurrent(), "spawn_tree_locals", {}).get(self._key)

    @module.setter
    def module(self, value: Any) -> None:
        getcurrent().spawn_tree_locals[self._key] = value


def separate_hosts() -> None:
    """Make `pyinfra.state` and `pyinfra.inventory` differ from one host's greenlet to the next."""
    ctx_state.context._container = _PerHost("pyinfra_state")
    ctx_inventory.context._container = _PerHost("pyinfra_inventory")


def enter(state: State, config: Config | None) -> None:
    """Make `state`, its inventory and its host the current ones of this greenlet.

    Set, not used as context managers: those of pyinfra leave the old object lost when the block raises.
    """
    ctx_state.set(state)
    ctx_inventory.set(state.inventory)
    ctx_host.set(state.inventory.host)
    ctx_config.set(config)
