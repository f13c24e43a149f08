"""Prints what deploys would write on a bare box: reads a JSON list of {"deploy", "data"}, gives texts by path for each.

The deploys are run as they are, by pyinfra's own preparation, on a host of its `@fake` connector: every question about
the box is answered with nothing, as a bare one does, but for those of `ANSWERS`. A process of its own, as pyinfra wants
gevent before anything else.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 - nothing else may be imported before the patch
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from pyinfra.api import Config, Inventory, State  # noqa: E402
from pyinfra.api.connect import connect_all  # noqa: E402
from pyinfra.api.state import StateStage  # noqa: E402
from pyinfra.context import ctx_config, ctx_host, ctx_inventory, ctx_state  # noqa: E402

from deploys.operations.files import AtomicUpload  # noqa: E402

DEPLOYS = Path(__file__).resolve().parents[2] / "deploys"
# A large machine, by what stands in the commands that ask for it.
ANSWERS = {
    "^MemTotal": ["flags : avx2 fma f16c bmi2 avx512f avx512bw amx_int8", "MemTotal: 1600000000 kB", "6.1.0-1-amd64"],
    "command -v": ["/usr/sbin/useradd"],
    "nproc": ["256"],
    "uname -s": ["Linux"],
    "which useradd": ["/usr/sbin/useradd"],
}


def written(deploy: str, data: dict[str, Any]) -> dict[str, str]:
    """The files that a deploy writes on a bare box, by their places."""
    answered = {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": ANSWERS}
    inventory = Inventory(([("@fake/box", data | answered)], {}))
    state = State(inventory, Config())
    connect_all(state)
    state.set_stage(StateStage.Prepare)
    (host,) = inventory.get_active_hosts()
    path = DEPLOYS / f"{deploy}.py"
    state.cwd, state.current_deploy_filename, state.current_exec_filename = str(DEPLOYS.parent), str(path), str(path)
    with ctx_state.use(state), ctx_inventory.use(inventory), ctx_config.use(state.config), ctx_host.use(host):
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), {"__file__": str(path)})  # noqa: S102
        operations = [state.get_op_data_for_host(host, name) for name in state.get_op_order()]
        commands = [command for operation in operations for command in operation.command_generator()]
    return {one.dest: one.src.read().decode() for one in commands if isinstance(one, AtomicUpload)}


if __name__ == "__main__":
    told = [written(one["deploy"], one["data"]) for one in json.load(sys.stdin)]
    sys.stdout.write(json.dumps(told))
