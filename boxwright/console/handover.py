"""What the owner of a finished box needs to begin: where it is, how to log in, and a first request."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from boxwright.console.text import aligned, one_line
from boxwright.handover.facts import BoxFacts
from boxwright.handover.requests import curl_by_password

if TYPE_CHECKING:
    from pydantic import SecretStr

TIMES_COLUMNS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover(BoxFacts):
    """The facts of one finished box, and what this run and this machine add to them.

    Attributes:
        ca_certificate: The file on this machine with the certificate that signs the box's; may be empty.
        pages: Files on this machine with the page about the box, by language.
        stage_seconds: How long each stage took.
        failed_checks: How many checks of this run's verification do not hold on it.
        one_of_many: It is handed over with others: what the page tells, too, is left to the page.
    """

    ca_certificate: str = ""
    pages: Mapping[str, str] = field(default_factory=dict)
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    failed_checks: int = 0
    one_of_many: bool = False


def handover_fields(handover: Handover) -> dict[str, Any]:
    """Return a handover as the payload of its JSON line: commands for the passwords, never the passwords."""
    return {
        **asdict(handover),
        "api_url": handover.api_url,
        "model": handover.model,
        "curl": " ".join(curl_by_password(handover, handover.ca_certificate)),
    }


def handover_lines(handover: Handover, passwords: Mapping[str, SecretStr]) -> list[str]:
    """Return a handover as lines for a person.

    Args:
        handover: The facts.
        passwords: What to show in the place of a command, by the command's name.
    """

    def password(name: str) -> str:
        if name in passwords:
            return passwords[name].get_secret_value()
        return handover.secret_commands.get(name, "the operator has it")

    facts = [
        ["Chat page", handover.chat_url],
        ["  user", handover.chat_user],
        ["  password", password("chat")],
        ["API", handover.api_url],
        ["  user", handover.api_user],
        ["  password", password("api")],
    ]
    if handover.ca_certificate:
        facts.append(["Certificate", f"{handover.ca_certificate} (give it to the browsers)"])
    facts += [[f"Page ({language})", path] for language, path in handover.pages.items()]
    if handover.address:
        facts.append(["Address", f"{handover.address} (for a name server or /etc/hosts)"])
    if handover.stage_seconds:
        first_times, *further = _times(handover.stage_seconds)
        facts += [["Took", first_times], *(["", times] for times in further)]
    told = ["", *(f"  {line}" for line in aligned([[label, one_line(fact)] for label, fact in facts]))]
    if handover.one_of_many and handover.pages:
        return told
    first, *rest = curl_by_password(handover, handover.ca_certificate)
    return [
        *told,
        "",
        "  A first request; curl asks for the API password:",
        "",
        f"    {first} \\",
        *(f"      {part} \\" for part in rest[:-1]),
        f"      {rest[-1]}",
    ]


def _times(stage_seconds: Mapping[str, float]) -> list[str]:
    """How long the stages took, in lines that a terminal shows whole."""
    each = [f"{stage}\N{NO-BREAK SPACE}{seconds:.1f}" for stage, seconds in stage_seconds.items()]
    told = f"{sum(stage_seconds.values()):.1f} s: {', '.join(each)}"
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in textwrap.wrap(told, TIMES_COLUMNS)]
