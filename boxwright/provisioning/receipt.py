"""The receipt on the box: what it was made into, from what, when and by whom. `/etc/boxwright/receipt.json`."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from boxwright import __version__
from boxwright.errors import BoxwrightError
from boxwright.model.fleet import Fleet
from boxwright.model.site import Host
from boxwright.planning.stages import stages_for, stages_of
from boxwright.provisioning import remote_receipt
from boxwright.reporting.run_log import now, operator
from boxwright.reports.certificate import Receipt, UsedBundle
from boxwright.transport.ssh import Endpoint, check, run

PATH = "/etc/boxwright/receipt.json"

_SCRIPT = "exec " + shlex.join(["python3", "-I", "-S", "-c", inspect.getsource(remote_receipt), PATH])


@dataclass(frozen=True)
class Run:
    """The run that a receipt is of: its name, when it began, the commit of Boxwright that it ran, and its bundle."""

    name: str = ""
    started_at: str = ""
    source_revision: str = ""
    bundle: UsedBundle | None = None


_NO_RUN = Run()


def receipt(fleet: Fleet, host: Host, stages: Sequence[str], run: Run = _NO_RUN) -> dict[str, Any]:
    """What the controller knows of a receipt; the box adds its versions."""
    return {
        "boxwright_version": __version__,
        "bundle": run.bundle.model_dump(mode="json") if run.bundle else None,
        "by": operator(),
        "digests": {file.name: f"sha256:{file.sha256}" for one in fleet.all_weights for file in one.build.files},
        "host": host.name,
        "profile": fleet.profile.name,
        "provisioned_at": now(),
        "run": run.name,
        "site": fleet.site.name,
        "source_revision": run.source_revision,
        "started_at": run.started_at,
        "stages": list(stages),
        "all_stages": [stage.name for stage in stages_for(fleet, host, stages_of(fleet))],
        "waivers": [waiver.model_dump(mode="json") for waiver in fleet.waivers],
    }


def receipt_of(endpoint: Endpoint) -> Receipt | None:
    """What a box says of its provisioning; None where it says nothing that can be read."""
    try:
        return Receipt.model_validate_json(run(endpoint, f"cat {PATH}").stdout)
    except (BoxwrightError, ValidationError):
        return None


def write_receipt(endpoint: Endpoint, fleet: Fleet, host: Host, stages: Sequence[str], run: Run = _NO_RUN) -> None:
    """Leave the receipt on a box whose stages all went well.

    Raises:
        BoxwrightError: The box could not write it.
    """
    check(endpoint, _SCRIPT, stdin=json.dumps(receipt(fleet, host, stages, run)))
