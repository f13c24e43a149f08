"""What every part of the model shares: frozen schemas that refuse unknown keys, and the types with units."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Frozen(BaseModel):
    """A value: never altered after it was validated, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


def wrong_at(keys: tuple[int | str, ...], text: str) -> PydanticCustomError:
    """What a validator of a whole document raises of one place in it, so that its reader is sent there.

    Args:
        keys: From the document to the place, such as `("hosts", 3, "address")`.
        text: What is wrong.
    """
    return PydanticCustomError("wrong_at", "{text}", {"text": text, "keys": keys})


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text, strict=False))


def _hostname(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", text):
        raise ValueError("a host name has lower-case letters, digits and hyphens, at most 63 of them")
    return text


def _address(text: str) -> str:
    """An IP address or a DNS name; refuses anything that a shell or ssh could read as more than that."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
        if not re.fullmatch(rf"{label}(\.{label})*", text):
            raise ValueError("neither an IP address nor a DNS name") from None
        if text.rpartition(".")[2].isdigit():  # no DNS name ends in a number: 192.0.2.256 is a mistyped address
            raise ValueError("not an IP address, which has four numbers from 0 to 255") from None
        return text


Gibibytes = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=1, le=65535)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Network = Annotated[str, AfterValidator(_network)]  # CIDR, IPv4 or IPv6
HostName = Annotated[str, AfterValidator(_hostname)]
Address = Annotated[str, AfterValidator(_address)]
AbsolutePath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/-]*$")]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s'\"`$\\<>]+$")]


def bracketed(name: str) -> str:
    """A host as it stands in a URL: IPv6 addresses in brackets, all others as they are."""
    return f"[{name}]" if ":" in name else name
