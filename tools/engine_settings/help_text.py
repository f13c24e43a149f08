"""Reads what `llama-server --help` prints: every flag, and the variable that stands for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_COLUMN = 40  # where descriptions begin
_SPELLING = re.compile(r"(--?[A-Za-z0-9][A-Za-z0-9.-]*),?\s*")
_DEFAULT = re.compile(r"\(default: ([^,;)\s]+)[,;)\s]")
_WHOLE = ("INDEX", "N", "PORT", "SECONDS", "SEED")
_FRACTIONS = ("L", "P", "SIMILARITY")
_FRACTIONS_ALL_THE_SAME = {
    "--rope-scale",
    "--rope-freq-base",
    "--rope-freq-scale",
    "--defrag-thold",
}  # no default shown
_ON, _OFF = {"true", "enabled"}, {"false", "disabled"}


def rows(text: str) -> list[dict[str, Any]]:
    """Flags and variables as rows of a table. What is listed only to say that it was removed is left out."""
    found: dict[str, dict[str, Any]] = {}
    for head, body in _blocks(text):
        spellings, placeholder = _head(head)
        if "the argument has been removed" in body or "--help" in spellings:
            continue
        value = _value(placeholder, body)
        if _FRACTIONS_ALL_THE_SAME & set(spellings):
            value["type"] = "number"
        row = {**_names(spellings, boolean=value["type"] == "boolean"), **value}
        found.setdefault(row["name"], row)
        variable = re.search(r"\(env: ([A-Z0-9_]+)\)", body)
        if variable:
            found.setdefault(variable[1], {"name": variable[1], **value})
    return list(found.values())


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """What stands before each description, and the description in one line."""
    blocks: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("-") and not line.startswith("-----"):
            beside = line[_COLUMN - 1 : _COLUMN] == " "
            blocks.append((line[:_COLUMN] if beside else line, [line[_COLUMN:]] if beside else []))
        elif blocks and line.startswith(" "):
            blocks[-1][1].append(line.strip())
    for head, lines in blocks:
        yield head.strip(), " ".join(lines)


def _head(text: str) -> tuple[list[str], str]:
    """The spellings of a flag, and what stands for its value."""
    spellings = []
    while match := _SPELLING.match(text):
        spellings.append(match[1])
        text = text[match.end() :]
    return spellings, text.strip()


def _names(spellings: list[str], *, boolean: bool) -> dict[str, Any]:
    name = next(spelling for spelling in spellings if spelling.startswith("--"))
    off = f"--no-{name[2:]}"
    if not boolean or off not in spellings:
        return {"name": name, "aliases": [other for other in spellings if other != name]}
    before = spellings[: spellings.index(name)]  # short forms after it turn it off
    long = [other for other in spellings if other.startswith("--") and not other.startswith("--no-")]
    return {"name": name, "aliases": [other for other in (*before, *long) if other != name], "opposite": off}


def _value(placeholder: str, body: str) -> dict[str, Any]:
    default = _DEFAULT.search(body)
    text = default[1].strip("'\"") if default else ""
    if not placeholder:
        known = {"default": "true"} if text in _ON else {"default": "false"} if text in _OFF else {}
        return {"type": "boolean", **known}
    choices = _choices(placeholder, body)
    if choices:
        return {"type": "choice", "choices": choices, **({"default": text} if text in choices else {})}
    if placeholder in (*_WHOLE, *_FRACTIONS) or re.fullmatch(r"<\d+\.\.\.\d+>", placeholder):
        return _number(placeholder, body, text)
    if re.fullmatch(r"[A-Z]+( [A-Z]+)+", placeholder):
        return {"type": "list", "form": "words"}
    return {"type": "text"}


def _choices(placeholder: str, body: str) -> list[str]:
    bracketed = re.fullmatch(r"[\[{<]([^\]}>]*[|,][^\]}>]*)[\]}>]", placeholder)
    if bracketed and not re.search(r"\d,|,\.\.", placeholder):
        return re.split(r"[|,]", bracketed[1])
    allowed = re.search(r"allowed values: ([a-z0-9_, ]+?)(?: \(|$)", body)
    if allowed:
        return allowed[1].split(", ")
    return re.findall(r"(?:^| )- ([a-z0-9+]+): ", body) if placeholder in ("MODE", "TYPE") else []


def _number(placeholder: str, body: str, default: str) -> dict[str, Any]:
    fraction = placeholder in _FRACTIONS or "." in default
    row: dict[str, Any] = {"type": "number" if fraction else "integer"}
    words = re.search(r"either an exact number, ((?:'[a-z]+'[, or]*)+)", body)
    if words:
        row["also"] = re.findall(r"'([a-z]+)'", words[1])
    if re.fullmatch(r"-?\d+(\.\d+)?", default) or default in row.get("also", []):
        row["default"] = default
    return row
