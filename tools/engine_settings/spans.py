"""Joins what was read of single releases to spans of releases in which a setting takes the same values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]
_MAY_DIFFER = ("default",)  # of the last release of a span; a new default alone makes no new span


def join(read: Mapping[str, Sequence[Row]]) -> list[Row]:
    """One row for each span.

    Args:
        read: Rows by release, the oldest release first.

    Returns:
        Flags, then variables, each by name; the spans of one name in time's order.
    """
    releases = list(read)
    by_name: dict[str, dict[str, Row]] = {}
    for release, rows in read.items():
        for row in rows:
            by_name.setdefault(row["name"], {})[release] = _without_empty(row)
    names = sorted(by_name, key=lambda name: (not name.startswith("-"), name))
    return [span for name in names for span in _spans(by_name[name], releases)]


def _spans(rows: Mapping[str, Row], releases: Sequence[str]) -> list[Row]:
    groups: list[list[str]] = []
    for number, release in enumerate(releases):
        if release not in rows:
            continue
        last = groups[-1][-1] if groups else None
        adjacent = last is not None and releases.index(last) == number - 1
        if adjacent and _same(rows[last], rows[release]):  # type: ignore[index]
            groups[-1].append(release)
        else:
            groups.append([release])
    spans = []
    for group in groups:
        span = dict(rows[group[-1]])
        if group[0] != releases[0]:
            span["since"] = group[0]
        if group[-1] != releases[-1]:
            span["until"] = group[-1]
        spans.append(span)
    return spans


def _same(one: Row, other: Row) -> bool:
    return {key: value for key, value in one.items() if key not in _MAY_DIFFER} == {
        key: value for key, value in other.items() if key not in _MAY_DIFFER
    }


def _without_empty(row: Row) -> Row:
    return {key: value for key, value in row.items() if value not in ([], None)}
