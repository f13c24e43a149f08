"""Secrets out of everything that is shown, logged or leaves a process of ours: events, logs, tracebacks."""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any, TextIO
from urllib.parse import quote

REDACTED = "[REDACTED]"

_SECRET_KEY = re.compile(r"(?:^|_)(?:key|password|secret|token|hash)$", re.IGNORECASE)
_SHORTEST = 6  # anything shorter would blank out ordinary words


def _values_under_secret_keys(data: Any, *, secret: bool = False) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _values_under_secret_keys(value, secret=secret or bool(_SECRET_KEY.search(str(key))))
    elif isinstance(data, list | tuple | set):
        for value in data:
            yield from _values_under_secret_keys(value, secret=secret)
    elif secret and isinstance(data, str):
        yield data


def _spellings(value: str) -> Iterator[str]:
    """The forms in which a value turns up: as is, line by line (in a diff), and quoted for shell, JSON and
    URLs."""
    for text in (value, *value.splitlines()):
        yield text
        yield text.strip()
        yield shlex.quote(text).strip("'")
        yield json.dumps(text)[1:-1]
        yield quote(text, safe="")
    yield base64.b64encode(value.encode()).decode()


class Redactor:
    """Replaces known secret values in text.

    A value is secret when it stands in `host.data` under a key that ends in `_key`, `_password`, `_secret`,
    `_token` or `_hash`, at any depth.
    """

    def __init__(self, datas: Iterable[dict[str, Any]]) -> None:
        found = {
            spelling
            for data in datas
            for value in _values_under_secret_keys(data)
            for spelling in _spellings(value)
            if len(spelling) >= _SHORTEST
        }
        longest_first = sorted(found, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if found else None

    def __call__(self, text: str) -> str:
        """Return `text` without any known secret."""
        return self._pattern.sub(REDACTED, text) if self._pattern else text


class RedactingStream(io.TextIOBase):
    """A text stream that redacts whole lines before they reach the real one."""

    def __init__(self, stream: TextIO, redact: Redactor) -> None:
        self._stream = stream
        self._redact = redact
        self._line = ""

    def write(self, text: str) -> int:
        """Hold text back until its line is complete, so that a secret is never cut in two."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._stream.write(self._redact(line) + "\n")
        return len(text)

    def flush(self) -> None:
        """Flush the real stream; a line that has not ended stays here."""
        self._stream.flush()

    def finish(self) -> None:
        """Write what is left of a last line without an end."""
        if self._line:
            self._stream.write(self._redact(self._line))
            self._line = ""
        self._stream.flush()
