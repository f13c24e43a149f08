"""Signed statements as DSSE envelopes: one line of JSON with the statement, and an ed25519 signature of it.

What is signed is DSSE's pre-authentication encoding, so that a signature made for one type of payload can be taken for
no other. `keyid` is the whole public key as OpenSSH writes it: the file can be checked by itself, and whose key that is
the reader has to know.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from boxwright.signing import ForgedError, PublicKey, SigningKey, read_public_key

PAYLOAD_TYPE = "application/vnd.in-toto+json"


@dataclass(frozen=True, slots=True)
class Opened:
    """A statement whose signature holds, and the key that signed it."""

    statement: dict[str, Any]
    key: PublicKey


def seal(statement: dict[str, Any], key: SigningKey) -> bytes:
    """A statement in its envelope. The same statement and key give the same bytes."""
    payload = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return _envelope(payload, key.public.line, key.sign_bare(encoded(PAYLOAD_TYPE, payload)))


def open_envelope(data: bytes) -> Opened:
    """The statement of an envelope.

    Raises:
        ForgedError: It is none, or not what was signed; a single byte that differs is enough.
    """
    try:
        told = json.loads(data)
        (signed,) = told["signatures"]
        payload, signature = (base64.b64decode(part, validate=True) for part in (told["payload"], signed["sig"]))
        key = read_public_key(signed["keyid"])
        type_ = str(told["payloadType"])
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, RecursionError):
        raise ForgedError("this is no envelope of DSSE with one signature, and a key of ed25519 as its keyid") from None
    if type_ != PAYLOAD_TYPE:
        raise ForgedError(f"the envelope holds {type_}, and not {PAYLOAD_TYPE}")
    key.hold_to(encoded(type_, payload), signature)
    if _envelope(payload, key.line, signature) != data:  # blanks and spare bits of base64 would be free to change
        raise ForgedError("the envelope is not written as it was made")
    try:
        statement = json.loads(payload)
    except (ValueError, RecursionError):
        statement = None
    if not isinstance(statement, dict):
        raise ForgedError("what is signed is no statement")
    return Opened(statement, key)


def encoded(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _envelope(payload: bytes, keyid: str, signature: bytes) -> bytes:
    told = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode()}],
    }
    return (json.dumps(told, sort_keys=True, separators=(",", ":")) + "\n").encode()
