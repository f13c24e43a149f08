"""The slowest link of a batch, before it is provisioned: what its machines lack, and how long the line takes for it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from boxwright.console import Console
from boxwright.console.text import counted, duration
from boxwright.errors import BoxwrightError
from boxwright.model.site import Host
from boxwright.model.weights import WantedBuild
from boxwright.planning.transfers import ASSUMED_MBIT_S, Transfer, missing_bytes
from boxwright.planning.weights import wanted_builds
from boxwright.provisioning.target import Target
from boxwright.transport.ssh import run

_AT_ONCE = 16
_PROBE_BYTES = 8_000_000  # to each machine; long enough to see a line of 10 Gbit/s, short on one of 100 Mbit/s
_PROBE_S = 60


def show_link(console: Console, target: Target) -> None:
    """Say how long models take to reach a batch. Nothing is said of one machine, or where all have theirs."""
    hosts, builds = target.fleet.hosts, wanted_builds(target.fleet)
    if len(hosts) < 2 or target.fleet.without_stack:
        return
    folders = target.fleet.site.models.controller_folders
    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="link") as pool:
        sizes = list(pool.map(lambda host: _sizes(target, host, builds), hosts))
    missing = [missing_bytes(builds, there, folders) for there in sizes if there is not None]
    for number, source in enumerate(("the controller", "the hubs")):
        lacking = [one[number] for one in missing if one[number]]
        if lacking:
            _say(console, _transfer(target, source, lacking))


def _transfer(target: Target, source: str, lacking: Sequence[int]) -> Transfer:
    said = target.fleet.site.networks.uplink_mbit_s
    if source == "the controller" and (measured := _measured(target)):
        return Transfer(source, len(lacking), sum(lacking), measured, "just measured, to all of them at once over ssh")
    basis = "networks.uplink_mbit_s of the site" if said else "ASSUMED: networks.uplink_mbit_s of the site says better"
    return Transfer(source, len(lacking), sum(lacking), said or ASSUMED_MBIT_S, basis)


def _say(console: Console, one: Transfer) -> None:
    each = "each for itself " if one.source == "the hubs" else ""
    console.data(
        "transfer",
        {
            "source": one.source,
            "machines": one.machines,
            "bytes": one.bytes,
            "mbit_s": round(one.mbit_s),
            "basis": one.basis,
            "predicted_seconds": round(one.seconds, 1),
        },
    )
    console.line(
        f"Models: {one.bytes / 1e9:.2f} GB in all for {counted(one.machines, 'machine')}, {each}from {one.source}. "
        f"Predicted: {duration(one.seconds)} on a line of {one.mbit_s:.0f} Mbit/s ({one.basis})"
    )


def _sizes(target: Target, host: Host, builds: Sequence[WantedBuild]) -> dict[str, int] | None:
    """Sizes of the files in the folders of these builds; None where the machine cannot be asked: its run says why."""
    folders = shlex.join(build.directory for build in builds)
    try:
        done = run(target.endpoint(host), f"find {folders} -type f -printf '%s %p\\n' 2>/dev/null; true", timeout_s=60)
    except BoxwrightError:
        return None
    pairs = (line.split(" ", 1) for line in done.stdout.splitlines())
    return {pair[1]: int(pair[0]) for pair in pairs if len(pair) == 2 and pair[0].isdigit()}


def _measured(target: Target) -> float | None:
    """Mbit/s from the controller to all machines at once, as files are sent; None where none of them took it."""
    data = "x" * _PROBE_BYTES

    def send(host: Host) -> int:
        try:
            done = run(target.endpoint(host), "cat >/dev/null", stdin=data, timeout_s=_PROBE_S)
        except BoxwrightError:
            return 0
        return 0 if done.code else _PROBE_BYTES

    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="link") as pool:
        began = time.monotonic()
        sent = sum(pool.map(send, target.fleet.hosts))
        seconds = time.monotonic() - began
    return sent * 8 / seconds / 1e6 if sent else None
