"""The frame of the probe's answer: named sections, each with output, exit code and the last words on stderr."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from boxwright.detection.machine import Unknown
from boxwright.errors import BoxwrightError

Result = TypeVar("Result")

_TIMED_OUT = (124, 137)
_NOT_FOUND = 127
_MOST_STARTS = 200  # places where JSON may begin behind a banner


class UnreadableError(Exception):
    """A tool's output is not what that tool prints."""


@dataclass(frozen=True)
class Section:
    """What one tool said. `code` is None when its output was cut off or the tool never ended."""

    name: str
    output: str
    code: int | None
    said: str = ""

    @property
    def excuse(self) -> str:
        """Why there may be nothing to read."""
        if self.code is None:
            return "it never ended, or its output was too long"
        if self.code in _TIMED_OUT:
            return "no answer in time"
        if self.code == _NOT_FOUND:
            return "not installed"
        last = next((line.strip() for line in reversed(self.said.splitlines()) if line.strip()), "")
        return f"it ended with code {self.code}" + (f": {last[:200]}" if last else "") if self.code else last[:200]


def read_sections(answer: str, mark: str) -> dict[str, Section]:
    """Take the answer apart. Lines outside of sections (banners, messages of the day) count for nothing.

    Raises:
        BoxwrightError: There is no section at all.
    """
    found: dict[str, Section] = {}
    name, lines = "", list[str]()
    for line in answer.split("\n"):
        words = line.split()
        if words[:2] == [mark, "begin"] and len(words) == 3:
            name, lines = words[2], []
        elif words[:2] == [mark, "end"] and name:
            found[name] = _section(name, "".join(lines))
            name = ""
        elif name:
            lines.append(line.strip())
    if name:
        found[name] = Section(name, "", None)
    if not found:
        raise BoxwrightError(
            "the probe's answer cannot be read",
            hint="Does the account have a POSIX shell with base64, head and tail, and no forced command?",
            output=answer[-2000:],
        )
    return found


def _section(name: str, encoded: str) -> Section:
    try:
        raw = base64.b64decode(encoded, validate=True)
        output, code, said = raw.rsplit(b"\0", 2)
        return Section(name, _text(output), int(code), _text(said))
    except (binascii.Error, ValueError):
        return Section(name, "", None)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def parse(
    sections: dict[str, Section],
    name: str,
    parser: Callable[[str], Result],
    *,
    tool: str = "",
    empty_is_fine: bool = False,
) -> Result | Unknown:
    """What a parser makes of a section, or why it cannot make anything of it."""
    tool = tool or name
    section = sections.get(name)
    if section is None:
        return Unknown(reason=f"{tool}: the probe did not get there")
    if not section.output.strip() and not (empty_is_fine and section.code == 0):
        return Unknown(reason=f"{tool}: {section.excuse or 'it said nothing'}")
    try:
        return parser(section.output)
    except (UnreadableError, ValueError, RecursionError) as error:
        why = section.excuse or (str(error).splitlines() or ["not readable"])[0][:200]
        return Unknown(reason=f"{tool}: {why}")


def json_with(text: str, key: str) -> list[Any]:
    """The list under `key` of the first JSON object that has it, wherever a banner ends.

    Raises:
        UnreadableError: There is none.
    """
    decoder = json.JSONDecoder()
    for count, start in enumerate(re.finditer(r"\{", text)):
        if count >= _MOST_STARTS:
            break
        try:
            document, _ = decoder.raw_decode(text, start.start())
        except ValueError:
            continue
        if isinstance(document, dict) and isinstance(document.get(key), list):
            return list(document[key])
    raise UnreadableError(f"no JSON with '{key}'")


def fields(text: str, least: int) -> list[list[str]]:
    """The lines of a section that the probe itself wrote: tab-separated, at least so many fields."""
    rows = [line.split("\t") for line in text.splitlines()]
    return [[cell.strip() for cell in row] for row in rows if len(row) >= least]


def whole(text: str) -> int | None:
    """The number at the start of a text such as `16x`, `24564 MiB` or `0x10de`; None for anything else."""
    match = re.match(r"\s*(0x[0-9a-fA-F]{1,16}|-?[0-9]{1,18})", text)
    return int(match[1], 0 if match[1].startswith("0x") else 10) if match else None
