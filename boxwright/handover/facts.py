"""What is told of a finished box to those who use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A model that the box serves, and where.

    Attributes:
        name: The service's name; empty for the main one, which the chat page speaks to.
        api_url: The base of its OpenAI-style API, ending in `/v1`.
        model: The name that a request gives for the model.
        title: The model's name for people.
        purpose: What it is for: `chat`, `completion` or `embedding`.
        thinks: Whether the model reasons before it answers.
        temperature: What its makers recommend; None where they say nothing.
        top_p: The same of the nucleus.
        context_tokens: Tokens of one request and its answer together.
        at_once: Requests that the engine works on at a time.
    """

    name: str = ""
    api_url: str
    model: str
    title: str = ""
    purpose: Literal["chat", "completion", "embedding"] = "chat"
    thinks: bool = False
    temperature: float | None = None
    top_p: float | None = None
    context_tokens: int = 0
    at_once: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxFacts:
    """The facts of one box, as far as they follow from its profile and its site.

    Attributes:
        host: The host's name in the fleet.
        profile: The kind of box.
        chat_url: The chat page; empty where there is none.
        chat_user: Who logs in there, usually an e-mail address.
        offers: What it serves, the main service first.
        api_user: Who asks there, by basic authentication.
        secret_commands: The command that shows a secret to the operator, under `chat`, `api` and `key`.
        address: Where the names in the URLs point, when no name server knows them; empty otherwise.
        authority_url: Where the certificate of the box's own authority is had; empty where the box was given one
            of an authority that clients know.
        requests_per_minute: Requests that one user may start in a minute; 0 where nobody says.
        requests_at_once: Requests of one user that may run at a time; 0 where nobody says.
    """

    host: str
    profile: str = ""
    chat_url: str
    chat_user: str
    offers: tuple[Offer, ...]
    api_user: str
    secret_commands: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    authority_url: str = ""
    requests_per_minute: int = 0
    requests_at_once: int = 0

    @property
    def main(self) -> Offer:
        """The main service."""
        return self.offers[0]

    @property
    def api_url(self) -> str:
        """The base of the main service's API, ending in `/v1`."""
        return self.main.api_url

    @property
    def model(self) -> str:
        """The name that a request gives for the main service's model."""
        return self.main.model
