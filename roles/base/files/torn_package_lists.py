"""Finds lists of packages that are not as their archive's index says: behind a power cut apt takes them for whole.

    python3 - < torn_package_lists.py    tells them, a path a line

By their sizes: what was not yet written is missing. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

LISTS = Path("/var/lib/apt/lists")
INDEX = "_InRelease"
_SHA256 = re.compile(r"^SHA256:\n((?: .*\n)+)", re.MULTILINE)


def torn(lists: Path = LISTS) -> Iterator[Path]:
    """The lists that are shorter or longer than they should be, and indexes that are empty."""
    for index in sorted(lists.glob(f"*{INDEX}")):
        section = _SHA256.search(index.read_text(errors="replace"))
        if section is None:
            yield index
            continue
        for line in section[1].splitlines():
            _, size, name = line.split()
            path = lists / f"{index.name.removesuffix(INDEX)}_{name.replace('/', '_')}"
            if path.is_file() and path.stat().st_size != int(size):
                yield path
            yield from (kept for kept in lists.glob(f"{path.name}.*") if not kept.stat().st_size)  # compressed


if __name__ == "__main__":
    for found in torn():
        print(found)  # noqa: T201 - for the role
