"""What the owner of a finished box needs to begin: where it is, how to log in, and a first request."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from json import dumps
from typing import TYPE_CHECKING, Any

from boxwright.console.text import aligned, one_line

if TYPE_CHECKING:
    from pydantic import SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """The facts of one finished box.

    Attributes:
        host: The host's name in the fleet.
        chat_url: The chat page.
        chat_user: Who logs in there, usually an e-mail address.
        api_url: The base of the OpenAI-style API, ending in `/v1`.
        api_user: Who asks there, by basic authentication.
        model: The name that a request gives for the model.
        secret_commands: The command that shows a password, under `chat` and `api`.
        ca_certificate: The file on this machine with the certificate that signs the box's; may be empty.
        address: Where the names in the URLs point, when no name server knows them.
        stage_seconds: How long each stage took.
    """

    host: str
    chat_url: str
    chat_user: str
    api_url: str
    api_user: str
    model: str
    secret_commands: Mapping[str, str]
    ca_certificate: str = ""
    address: str = ""
    stage_seconds: Mapping[str, float] = field(default_factory=dict)


def handover_fields(handover: Handover) -> dict[str, Any]:
    """Return a handover as the payload of its JSON line: commands for the passwords, never the passwords."""
    return {**asdict(handover), "curl": " ".join(curl_command(handover))}


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
    if handover.address:
        facts.append(["Address", f"{handover.address} (for a name server or /etc/hosts)"])
    first, *rest = curl_command(handover)
    return [
        "",
        *(f"  {line}" for line in aligned([[label, one_line(fact)] for label, fact in facts])),
        "",
        "  A first request; curl asks for the API password:",
        "",
        f"    {first} \\",
        *(f"      {part} \\" for part in rest[:-1]),
        f"      {rest[-1]}",
    ]


def curl_command(handover: Handover) -> tuple[str, ...]:
    """Return the command of a first streamed request, quoted for a shell, in parts that each fit a line."""
    request = {"model": handover.model, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    parts = ["curl --no-buffer"]
    if handover.ca_certificate:
        parts.append(f"--cacert {shlex.quote(handover.ca_certificate)}")
    if handover.address:
        parts.append(f"--connect-to {shlex.quote(f'::{_bracketed(handover.address)}:')}")
    return (
        *parts,
        f"--user {shlex.quote(handover.api_user)}",
        "--header 'Content-Type: application/json'",
        f"--data {shlex.quote(dumps(request))}",
        shlex.quote(f"{handover.api_url.rstrip('/')}/chat/completions"),
    )


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
