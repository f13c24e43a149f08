"""Hands finished boxes over: the facts on the console, and the page about each box as files on this machine."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

from boxwright import places
from boxwright.console import Console, Handover
from boxwright.console.text import aligned, counted, named, one_line, shortened
from boxwright.errors import BadInputError, BoxwrightError, Exit
from boxwright.handover.facts import BoxFacts
from boxwright.handover.page import pages
from boxwright.model.fleet import Fleet
from boxwright.model.site import Host
from boxwright.planning.handover import box_facts
from boxwright.provisioning.outcome import HostOutcome
from boxwright.provisioning.target import Choice, Target, choose, prepare
from boxwright.transport.ssh import check
from boxwright.verification import Check
from boxwright.verification.check import CheckOutcome

_AUTHORITY = "/etc/boxwright/pki/ca.crt"


def handover(console: Console, choice: Choice) -> Exit:
    """Write the page about each box anew, and tell what its owner needs to begin. Changes nothing on a box.

    Raises:
        BadInputError: Nothing serves on such boxes.
        BoxwrightError: A box does not tell its certificate.
    """
    fleet = choose(choice)
    if fleet.without_stack:
        raise BadInputError(
            f"there is nothing to hand over: {fleet.without_stack}", where=f"profile {fleet.profile.name}"
        )
    target = prepare(fleet, console.info, boot=False)
    for host in filter(target.fleet.leads, target.fleet.hosts):
        console.handover(_handover(target, host, {}, authority_of(target, host)))
    return Exit.OK


def hand_over(console: Console, target: Target, outcomes: Sequence[HostOutcome], checks: Sequence[Check]) -> None:
    """Hand over every box that a run has finished."""
    failed = failed_checks(checks)
    finished = {one.host: one for one in outcomes if one.finished}
    boxes = [host for host in target.fleet.hosts if host.name in finished and target.fleet.leads(host)]
    for host in boxes:
        try:
            authority = authority_of(target, host)
        except BoxwrightError as error:  # the box is finished all the same
            console.error(error)
            authority = ""
        made = _handover(target, host, finished[host.name].seconds, authority)
        nodes = [node.name for node in target.fleet.box_of(host)]
        broken = sum(len(failed.get(name, ())) for name in nodes)
        console.handover(replace(made, failed_checks=broken, one_of_many=len(boxes) > 1))


def tell_batch(console: Console, fleet: Fleet, outcomes: Sequence[HostOutcome], checks: Sequence[Check]) -> None:
    """Say last of all, of several machines, which are ready and which are not: all else has left the screen by then."""
    failed = failed_checks(checks)
    serials = {host.name: host.serial or "" for host in fleet.site.hosts}
    wrong = {one.host: one.error.message for one in outcomes if one.error}
    wrong |= {host: f"{counted(len(ids), 'check')} failed: {named(ids)}" for host, ids in failed.items()}
    ready = [one.host for one in outcomes if one.host not in wrong]
    console.data("batch", {"ready": ready, "not_ready": wrong})
    if len(outcomes) < 2:
        return
    told = f"{len(ready)} of {len(outcomes)} machines {'is' if len(ready) == 1 else 'are'} ready."
    if not wrong:
        console.success(told)
        return
    console.warning(told)
    rows = [[host, serials.get(host, ""), shortened(one_line(why), 120)] for host, why in wrong.items()]
    for line in aligned(rows):
        console.line(f"  {line}")


def failed_checks(checks: Sequence[Check]) -> dict[str, list[str]]:
    """The checks that do not hold, by host."""
    found: dict[str, list[str]] = {}
    for one in checks:
        if one.outcome is CheckOutcome.FAIL:
            found.setdefault(one.host, []).append(one.id)
    return found


def _handover(target: Target, host: Host, seconds: Mapping[str, float], authority: str) -> Handover:
    facts = box_facts(target.fleet, host)
    folder = places.state() / "sites" / target.fleet.site.name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate = folder / f"{host.name}-ca.crt"
    if authority:
        certificate.write_text(authority, encoding="utf-8")
    return Handover(
        **{one.name: getattr(facts, one.name) for one in fields(facts)},
        ca_certificate=str(certificate) if authority else "",
        pages=_write_pages(folder / host.name, facts, fingerprint(authority) if authority else ""),
        stage_seconds=seconds,
    )


def _write_pages(folder: Path, facts: BoxFacts, of_authority: str) -> dict[str, str]:
    folder.mkdir(mode=0o700, exist_ok=True)
    written = {}
    for language, text in pages(facts, of_authority).items():
        path = folder / f"{language}.html"
        path.write_text(text, encoding="utf-8")
        written[language] = str(path)
    return written


def fingerprint(pem: str) -> str:
    """SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` writes it."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    return ":".join(digest[place : place + 2] for place in range(0, len(digest), 2))


def authority_of(target: Target, host: Host) -> str:
    """The certificate of the box's own authority, over ssh; empty where the box was given one of another.

    Raises:
        BoxwrightError: The box does not tell it, or tells something else.
    """
    if target.chain:
        return ""
    told = check(target.endpoint(host), f"cat {_AUTHORITY}")
    try:
        fingerprint(told)
    except ValueError as error:
        raise BoxwrightError(
            f"{_AUTHORITY} is no certificate: {error}",
            where=host.name,
            hint=f"Look at it there: openssl x509 -noout -text -in {_AUTHORITY}",
        ) from None
    return told
