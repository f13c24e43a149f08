"""The slowest link of a batch, before it is provisioned: what its machines lack, and how long the line takes for it."""

from __future__ import annotations

import ipaddress
import re
import shlex
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from boxwright.console import Console
from boxwright.console.text import counted, duration
from boxwright.errors import BoxwrightError
from boxwright.model.hand_on import HandOn, Peer
from boxwright.model.site import Host
from boxwright.model.weights import WantedBuild
from boxwright.planning.handing_on import HandingOn, LackedFile, decide, lacked_files
from boxwright.planning.transfers import ASSUMED_MBIT_S, Transfer
from boxwright.planning.weights import wanted_builds
from boxwright.provisioning.target import Target
from boxwright.transport.ssh import run

_AT_ONCE = 16
_PROBE_BYTES = 8_000_000  # to each machine; long enough to see a line of 10 Gbit/s, short on one of 100 Mbit/s
_PROBE_S = 60


def plan_link(console: Console, target: Target) -> Target:
    """Say how long models take to reach a batch, and decide whether its machines hand them on to each other.

    Nothing is said of one machine, or where all have theirs.

    Returns:
        The target, with what its machines hand on.
    """
    hosts, builds = target.fleet.hosts, wanted_builds(target.fleet)
    if len(hosts) < 2 or target.fleet.without_stack:
        return target
    folders = target.fleet.site.models.controller_folders
    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="link") as pool:
        sizes = list(pool.map(lambda host: _sizes(target, host, builds), hosts))
    lacked = lacked_files(builds, [there for there in sizes if there is not None], folders)
    peers = peers_of(target) if lacked else ()
    patience: dict[str, int] = {}
    for source in ("the controller", "the bundle" if target.fleet.site.bundle else "the hubs"):
        files = [one for one in lacked if one.on_controller == (source == "the controller")]
        if any(one.left for one in files):
            transfer = _transfer(target, source, files)
            between = Between.of(target.fleet.site.networks.between_mbit_s)
            decided = decide(files, transfer.mbit_s, between.mbit_s) if len(peers) > 1 else None
            _say(console, transfer, between, decided)
            patience |= decided.patience_s if decided else {}
    return replace(target, hand_on=HandOn(files=patience, peers=peers)) if patience else target


@dataclass(frozen=True)
class Between:
    """What one machine sends to another."""

    mbit_s: float
    basis: str

    @classmethod
    def of(cls, said: int | None) -> Between:
        """As the site says, or an assumption."""
        name = "networks.between_mbit_s of the site"
        return cls(said, name) if said else cls(ASSUMED_MBIT_S, f"ASSUMED: {name} says better")


def peers_of(target: Target) -> tuple[Peer, ...]:
    """The machines that can reach each other by address: of one family, and none by a port of this machine's own."""
    found = []
    for host in target.fleet.hosts:
        endpoint = target.endpoint(host)
        address = _number(endpoint.address)
        if address and not address.is_loopback:
            enter = tuple(endpoint.entry(shared=False))
            found.append(Peer(name=host.name, address=str(address), enter=enter, sudo=endpoint.become))
    by_number = [tuple(one for one in found if (":" in one.address) is wide) for wide in (False, True)]
    return max(by_number, key=len)


def _number(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, ValueError):  # no such name, or an address of one link
        return None


def _transfer(target: Target, source: str, files: Sequence[LackedFile]) -> Transfer:
    said = target.fleet.site.networks.uplink_mbit_s
    machines, count = len(frozenset().union(*(one.machines for one in files))), sum(one.left for one in files)
    here = source == "the controller" or (source == "the bundle" and target.used)
    if here and (measured := _measured(target)):
        return Transfer(source, machines, count, measured, "just measured, to all of them at once over ssh")
    basis = "networks.uplink_mbit_s of the site" if said else "ASSUMED: networks.uplink_mbit_s of the site says better"
    return Transfer(source, machines, count, said or ASSUMED_MBIT_S, basis)


def _say(console: Console, one: Transfer, between: Between, decided: HandingOn | None) -> None:
    handed = bool(decided and decided.patience_s)
    each = "" if handed or one.source == "the controller" else "each for itself "
    console.data(
        "transfer",
        {
            "source": one.source,
            "machines": one.machines,
            "bytes": one.bytes,
            "mbit_s": round(one.mbit_s),
            "basis": one.basis,
            "predicted_seconds": round(one.seconds, 1),
            "between_mbit_s": round(between.mbit_s),
            "between_basis": between.basis,
            "handed_on": handed,
            "handed_on_seconds": round(decided.seconds, 1) if decided else None,
        },
    )
    console.line(
        f"Models: {one.bytes / 1e9:.2f} GB in all for {counted(one.machines, 'machine')}, {each}from {one.source}. "
        f"Predicted: {duration(one.seconds)} on a line of {one.mbit_s:.0f} Mbit/s ({one.basis})"
    )
    if decided:
        way = f"{duration(decided.seconds)} at {between.mbit_s:.0f} Mbit/s from one to the next ({between.basis})"
        console.line(
            f"  One of them gets each file, and they hand it on: predicted {way}"
            if handed
            else f"  Each gets its own, as handing on would take {way}"
        )


def _sizes(target: Target, host: Host, builds: Sequence[WantedBuild]) -> dict[str, int] | None:
    """Sizes of the files in the folders of these builds; None where the machine cannot be asked: its run says why."""
    folders = shlex.join(build.directory for build in builds)
    try:
        done = run(target.endpoint(host), f"find {folders} -type f -printf '%s %p\\n' 2>/dev/null; true", timeout_s=60)
    except BoxwrightError:
        return None
    # Whatever else stands there, such as the rest of a name with a line's end in it, is no size.
    return {path: int(size) for size, path in re.findall(r"^([0-9]{1,18}) (.+)$", done.stdout, re.MULTILINE)}


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
