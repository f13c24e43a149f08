#!/usr/bin/env python3
"""Let a unit serve from its present files; if it does not, put back what was proven to serve before.

Usage: serve-unit [--restart] < REQUEST
       serve-unit rivals|keep < REQUEST
       serve-unit end|back|remove UNIT
       serve-unit known

REQUEST is JSON: `unit` (with .service), `serves` (the model's name), `url` (answers 2xx when it is ready; null for a
unit without a door of its own), `question` (null, or `url`, `body` and `key` of a request that the model must answer),
`written` (the files that it is made of) and `patience_s` (how long its start may take). Where there are some, it has
`residency` (what card-residency is asked of the cards that its model lies on), `placement` (what memory-placement is
asked of the NUMA nodes that it lies on), `speed` (a question, and `least`: tokens per second of one answer), `guards`
(units that run with this one), `traces` (files that it leaves, and that go with it) and `box` (of one of several nodes:
whether it `leads`, and a digest of the `settings` of all of them).

A node that does not lead lets its engine run until the head has ended its own, whose requests in flight need it; then
it waits until the head is proven to serve by the same settings, and goes back when the head does: what it knows of its
head it has from run-node, which the head tells. So either all nodes keep what is new, or none, whoever ordered it is
still there or not. How long a head's start takes is counted from when all nodes are there; when whoever ordered it has
gone, a head does not wait long for nodes that do not come.

The unit is restarted where --restart says so, and where it does not run. When it is ready, has answered, lies on its
cards and nodes, and was as fast as it has to be, copies of its files become what is proven: FOLDER/UNIT/files, beside
the request. When it does not, the copies of before are put back and served again, and the program ends with 1. Another
unit that was proven behind the same door - another engine - gives way before the start, comes back when that fails, and
is removed when it succeeds. Nothing else on the machine is touched. The folder is root's alone: among the files are
keys.

The other orders are for programs that prove units in a way of their own, and share their doors: `known` names the units
that are proven, `rivals` those behind the request's door, `keep` makes its files what is proven, `end` lets a unit give
way, `back` lets it serve again and says how that went, `remove` takes it away with its files.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nodes
import proofs
import starts
import units
from proofs import Proof

HEAD_FIRST_S = 5  # a node that has failed lets its head tell why: whoever ends first ends the run on both


def serve(request: dict[str, Any], *, restart: bool) -> None:
    """Let the request's unit serve.

    Raises:
        FailedError: It does not; the message says what serves now.
    """
    with proofs.trying(request):
        _serve(request, restart=restart)


def _serve(request: dict[str, Any], *, restart: bool) -> None:
    own, rivals = Proof(request["unit"]), proofs.rivals_of(request)
    before = (rivals[0] if rivals else own).request()
    changed = not own.fits(request)
    if before and proofs.follows(request):
        nodes.until_the_head_leaves(request, before)
    for rival in rivals:
        _ended(rival.request() or {"unit": rival.folder.name})
    try:
        starts.bring_up(request, restart=restart or bool(rivals))
    except units.FailedError as failure:
        units.complain(failure)
        end = _gone_back(request, before) if changed or rivals else _nothing_else(request)
        if proofs.follows(request):
            time.sleep(HEAD_FIRST_S)
        raise units.FailedError(end) from None
    for rival in rivals:
        _removed(rival)
    if changed:
        own.keep(request)


def _nothing_else(request: dict[str, Any]) -> str:
    return f"This is what served {request['serves']} before: there is nothing else to go back to."


def _gone_back(request: dict[str, Any], before: dict[str, Any] | None) -> str:
    """Let what was proven serve again; say how that went."""
    if before is None:
        return "Nothing was proven to serve here before, so there is nothing to go back to."
    if before["unit"] != request["unit"]:
        _ended(request)
        _removed_files(request)
    return _served_again(before)


def _served_again(before: dict[str, Any]) -> str:
    """Let a unit serve from the files that were proven; say how that went."""
    Proof(before["unit"]).put_back(before)
    try:
        starts.bring_up(before, restart=True)
    except units.FailedError as failure:
        units.complain(failure)
        return f"{before['unit']} with {before['serves']} was put back, and does not serve either."
    return f"{before['unit']} serves {before['serves']} again, with the files that it had."


def _ended(told: dict[str, Any]) -> None:
    units.systemctl("disable", "--now", "--quiet", told["unit"], *told.get("guards", ()), check=False)
    # One that was killed with requests in flight counts as failed.
    units.systemctl("reset-failed", told["unit"], check=False)


def _removed(rival: Proof) -> None:
    """The files of a unit that gave way: it would start beside its successor, and listen nowhere."""
    told = rival.request() or {}
    _removed_files(told)
    rival.forget()
    units.say(f"{rival.folder.name} served {told.get('serves')} before, and was removed")


def _removed_files(told: dict[str, Any]) -> None:
    for path in map(Path, (*told.get("written", ()), *told.get("traces", ()))):
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # of a folder that is not empty: units have neighbours
            path.parent.rmdir()
    units.systemctl("daemon-reload")


def _known(unit: str) -> dict[str, Any]:
    """What was asked for when a unit was proven.

    Raises:
        FailedError: It never was.
    """
    told = Proof(unit).request()
    if told is None:
        raise units.FailedError(f"nothing is proven of {unit}")
    return told


def obey(order: str, unit: str) -> None:
    """Do what another program orders, which proves units in a way of its own.

    Raises:
        FailedError: It cannot be done.
    """
    if order == "known":
        for proof in proofs.all_proofs():
            units.say(proof.folder.name)
    elif order == "rivals":
        for rival in proofs.rivals_of(json.load(sys.stdin)):
            units.say(rival.folder.name)
    elif order == "keep":
        request = json.load(sys.stdin)
        Proof(request["unit"]).keep(request)
    elif order == "end":
        _ended(_known(unit))
    elif order == "back":
        units.say(_served_again(_known(unit)))
    elif order == "remove":
        _removed(Proof(unit))
    else:
        raise units.FailedError(f"there is no order {order}")


def main(arguments: Sequence[str]) -> int:
    """Do what was ordered; one at a time."""
    os.umask(0o077)
    proofs.PROVEN.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (proofs.PROVEN / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if arguments and arguments[0] != "--restart":
                obey(arguments[0], "".join(arguments[1:2]))
            else:
                serve(json.load(sys.stdin), restart="--restart" in arguments)
        except (units.FailedError, OSError) as error:
            units.complain(error)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
