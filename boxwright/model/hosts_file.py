"""A site's hosts in a file of their own: a table, as a spreadsheet saves it, or YAML. Every cell keeps its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from boxwright.errors import BadInputError, did_you_mean
from boxwright.model.loading import MAX_BYTES, Layer, position, read_layer
from boxwright.model.site import Host

_DISK = "disks."
_DISTINCT = ("name", "serial")  # an address may stand twice, with another port


@dataclass(frozen=True)
class Cell:
    """A cell of a table, and where it stands, counted from 1."""

    text: str
    line: int
    column: int


def with_hosts(layer: Layer) -> tuple[dict[str, Any], tuple[Layer, ...]]:
    """A site's document with the hosts of its `hosts_file` in it, and the files that it is put together from.

    Raises:
        BadInputError: The file is missing or wrong, or the site names hosts by itself, too.
    """
    if "hosts_file" not in layer.document:
        return layer.document, (layer,)
    where, named = position((layer,), ("hosts_file",)), layer.document["hosts_file"]
    if "hosts" in layer.document:
        raise BadInputError("a site has hosts, or a hosts_file, not both", where=where)
    if not isinstance(named, str) or not named.endswith((".csv", ".yml", ".yaml")):
        raise BadInputError(f"hosts_file: '{named}' is no .csv and no .yml file", where=where)
    path = layer.path.parent / named
    if not path.is_file():
        raise BadInputError(
            f"hosts_file: there is no file {path}", where=where, hint="Its name is relative to this one."
        )
    hosts = _from_table(path) if named.endswith(".csv") else _from_yaml(path)
    # A mistake that is nobody's in particular is told of the site's own file, which therefore comes last.
    return {**layer.document, "hosts": hosts.document["hosts"]}, (hosts, layer)


def _from_yaml(path: Path) -> Layer:
    layer = read_layer(path)
    for key in layer.document:
        if key != "hosts":
            raise BadInputError(
                f"unknown key '{key}'.{did_you_mean(str(key), ['hosts']) or ' Known here: hosts.'}",
                where=position((layer,), (key,)),
            )
    if "hosts" not in layer.document:
        raise BadInputError("the key 'hosts' is missing", where=f"{path}:1")
    return layer


def _from_table(path: Path) -> Layer:
    rows = [[*_cells(path, number, line)] for number, line in _lines(path)]
    if len(rows) < 2:
        raise BadInputError(
            "the table has no hosts" if rows else "the file is empty",
            where=f"{path}:1",
            hint=f"Its first line names the columns, such as name,address,serial: {', '.join(_columns())}, disks.NAME.",
        )
    header, *body = rows
    names = _header(path, header)
    hosts = CommentedSeq()
    for number, cells in enumerate(body):
        hosts.append(_host(path, names, cells))
        hosts._yaml_set_idx_line_col(number, [cells[0].line - 1, 0])
    _refuse_twins(path, names, body)
    document = CommentedMap({"hosts": hosts})
    document._yaml_set_kv_line_col("hosts", [0, 0, 0, 0])
    return Layer(path, document)


def _columns() -> list[str]:
    return [name for name in Host.model_fields if name != "disks"]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that say something, by their numbers."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"cannot read it: {error.strerror}", where=str(path)) from None
    if len(raw) > MAX_BYTES:
        raise BadInputError(f"{len(raw)} bytes is too large for a list of hosts", where=str(path))
    try:
        text = raw.decode("utf-8-sig")  # spreadsheets mark their UTF-8
    except UnicodeDecodeError as error:
        at = raw[: error.start].count(b"\n") + 1
        raise BadInputError("not UTF-8 text", where=f"{path}:{at}", hint="Save it as 'CSV UTF-8'.") from None
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if line.strip(" \t,;") and not line.lstrip().startswith("#"):
            yield number, line


def _cells(path: Path, number: int, line: str) -> Iterator[Cell]:
    """The cells of a line. A spreadsheet separates them by commas, semicolons or tabs, as its language has it."""
    at, separators = 0, ",;\t"
    while True:
        begin = at
        if line.startswith('"', at):
            text, at = _quoted(path, number, line, at)
        else:
            ends = [place for sign in separators if (place := line.find(sign, at)) >= 0]
            at = min(ends, default=len(line))
            text = line[begin:at]
        yield Cell(text.strip(), number, begin + 1)
        if at >= len(line):
            return
        separators = line[at]  # the first one counts for the whole line
        at += 1


def _quoted(path: Path, number: int, line: str, begin: int) -> tuple[str, int]:
    """A cell in quotes, and where it ends; a quote within is doubled."""
    text, at = "", begin + 1
    while (end := line.find('"', at)) >= 0:
        text, at = text + line[at:end], end + 1
        if not line.startswith('"', at):
            if at < len(line) and line[at] not in ",;\t":
                raise BadInputError("text stands behind a closing quote", where=f"{path}:{number}:{at + 1}")
            return text, at
        text, at = f'{text}"', at + 1
    raise BadInputError("a quote is not closed in its line", where=f"{path}:{number}:{begin + 1}")


def _header(path: Path, cells: Sequence[Cell]) -> list[str]:
    known, names = _columns(), []
    for cell in cells:
        name = cell.text.lower().replace(" ", "_")
        where = f"{path}:{cell.line}:{cell.column}"
        if name not in known and not (name.startswith(_DISK) and name != _DISK):
            near = did_you_mean(name, known) or f" Known: {', '.join(known)}, disks.NAME."
            raise BadInputError(f"unknown column '{cell.text}'.{near}", where=where)
        if name in names:
            raise BadInputError(f"the column '{name}' stands twice", where=where)
        names.append(name)
    if "name" not in names:
        raise BadInputError("the column 'name' is missing", where=f"{path}:{cells[0].line}:1")
    return names


def _host(path: Path, names: Sequence[str], cells: Sequence[Cell]) -> CommentedMap:
    """A row as the mapping that YAML would give; an empty cell says nothing."""
    host, disks = CommentedMap(), CommentedMap()
    for place, cell in enumerate(cells):
        if not cell.text:
            continue
        if place >= len(names):
            raise BadInputError("a cell without a column", where=f"{path}:{cell.line}:{cell.column}")
        name = names[place]
        into, key = (disks, name.removeprefix(_DISK)) if name.startswith(_DISK) else (host, name)
        into[key] = cell.text.split() if name == "erase_disks" else cell.text
        into._yaml_set_kv_line_col(key, [cell.line - 1, cell.column - 1] * 2)
        if into is disks and "disks" not in host:
            host["disks"] = disks
            host._yaml_set_kv_line_col("disks", [cell.line - 1, cell.column - 1] * 2)
    return host


def _refuse_twins(path: Path, names: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    for name in set(_DISTINCT) & set(names):
        place, seen = names.index(name), dict[str, Cell]()
        for row in rows:
            cell = row[place] if place < len(row) else None
            if cell is None or not cell.text:
                continue
            if before := seen.get(cell.text.lower()):
                raise BadInputError(
                    f"{name}: '{cell.text}' stands in line {before.line} already",
                    where=f"{path}:{cell.line}:{cell.column}",
                )
            seen[cell.text.lower()] = cell
