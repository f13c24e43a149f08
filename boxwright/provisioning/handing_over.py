"""Hands finished boxes over: the facts on the console, and the page about each box as files on this machine."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from boxwright import places
from boxwright.console import Console, Handover
from boxwright.errors import BadInputError, BoxwrightError, Exit
from boxwright.handover.facts import BoxFacts
from boxwright.handover.page import pages
from boxwright.model.site import Host
from boxwright.planning.handover import box_facts
from boxwright.provisioning.outcome import HostOutcome
from boxwright.provisioning.target import Choice, Target, choose, prepare
from boxwright.transport.ssh import check

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


def hand_over(console: Console, target: Target, outcomes: Sequence[HostOutcome]) -> None:
    """Hand over every box that a run has finished."""
    for one in outcomes:
        host = next((host for host in target.fleet.hosts if host.name == one.host), None)
        if host and one.finished and target.fleet.leads(host):
            try:
                authority = authority_of(target, host)
            except BoxwrightError as error:  # the box is finished all the same
                console.error(error)
                authority = ""
            console.handover(_handover(target, host, one.seconds, authority))


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
