"""Fingerprints of OpenPGP keys, by which roles know the key that they are to trust."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from boxwright.errors import BadInputError

_PUBLIC_KEY = 6  # the packet's tag: RFC 4880, 4.3
_TWO_OCTETS = 192  # a length from here on takes a second octet: RFC 4880, 4.2.2


def fingerprint(armored: str) -> str:
    """The fingerprint of the first key of an armored file, as 40 hexadecimal digits (RFC 4880, 12.2).

    Raises:
        BadInputError: It is no such file, or its key is of another version than 4.
    """
    body = re.search(r"-----BEGIN PGP PUBLIC KEY BLOCK-----\n(?:[^\n]+\n)*\n([A-Za-z0-9+/=\n]+)-----END", armored)
    try:
        data = base64.b64decode(re.sub(r"\n=.*", "", body[1]) if body else "", validate=False)
        packet = _first_packet(data)
    except (binascii.Error, IndexError):
        packet = b""
    if packet[:1] != b"\x04":
        raise BadInputError("this is no OpenPGP key that Boxwright reads")
    return (
        hashlib.sha1(  # noqa: S324  what OpenPGP has
            b"\x99" + len(packet).to_bytes(2, "big") + packet
        )
        .hexdigest()
        .upper()
    )


def _first_packet(data: bytes) -> bytes:
    head = data[0]
    if head & 0x40:  # the new format
        tag, first = head & 0x3F, data[1]
        two = first >= _TWO_OCTETS
        size = ((first - _TWO_OCTETS) << 8) + data[2] + _TWO_OCTETS if two else first
        start = 3 if two else 2
    else:
        octets = 1 << (head & 3)
        tag, size, start = (head >> 2) & 0xF, int.from_bytes(data[1 : 1 + octets], "big"), 1 + octets
    return data[start : start + size] if tag == _PUBLIC_KEY else b""
