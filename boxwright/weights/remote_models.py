"""Runs on the box, sent there as source: tells which weights lie there, and removes what it is told to.

The folder of models is the one argument. Standard input is JSON: `{"remove": ["MODEL/BUILD", …]}`. Only folders that a
fetcher or a converter of Boxwright's left a mark in are seen at all. Standard library only, for whatever Python 3 the
box has.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def builds(root: Path) -> Iterator[Path]:
    """Every folder MODEL/BUILD that is Boxwright's."""
    for folder in sorted(root.glob("*/*")):
        if folder.is_dir() and not folder.is_symlink() and ((folder / ".fetch.lock").exists() or _converted(folder)):
            yield folder


def _converted(folder: Path) -> bool:
    return (folder / ".converted").exists()


def describe(folder: Path, used: dict[str, set[str]]) -> dict[str, Any]:
    """What lies in a folder, and who has it open."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    parts = [path for path in files if path.suffix in (".part", ".piece", ".whl") or path.name.endswith(".whl.part")]
    whole = [path for path in files if path not in parts and not path.name.startswith(".")]
    return {
        "name": f"{folder.parent.name}/{folder.name}",
        "bytes": sum(path.stat().st_size for path in files),
        "files": {str(path.relative_to(folder)): path.stat().st_size for path in whole},
        "partial_bytes": sum(path.stat().st_size for path in parts),
        "converted": _converted(folder),
        "used_by": sorted(used.get(str(folder), ())),
    }


def users(folders: list[Path]) -> dict[str, set[str]]:
    """Which processes have a file of each folder open or mapped."""
    found: dict[str, set[str]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text().strip()
            places = {
                line.split(" ", 5)[-1].strip() for line in (process / "maps").read_text().splitlines() if "/" in line
            }
            places |= {str(link.readlink()) for link in (process / "fd").iterdir()}
        except OSError:  # it has ended, or is a kernel's thread
            continue
        for folder in folders:
            if any(place.startswith(f"{folder}/") for place in places) and int(process.name) != os.getpid():
                found.setdefault(str(folder), set()).add(f"{name} ({process.name})")
    return found


def remove(folder: Path) -> None:
    """Remove a folder that nobody fetches into, and its model's when it was the last one."""
    with (folder / ".fetch.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    if not any(folder.parent.iterdir()):
        folder.parent.rmdir()


def main(root: Path, order: dict[str, Any]) -> dict[str, Any]:
    """Do what was ordered, and tell what is there afterwards."""
    there = list(builds(root))
    used = users(there)
    refused, freed = {}, 0
    for folder in there:
        name = f"{folder.parent.name}/{folder.name}"
        if name not in order.get("remove", ()):
            continue
        size = describe(folder, used)["bytes"]
        if str(folder) in used:
            refused[name] = f"in use by {', '.join(sorted(used[str(folder)]))}"
            continue
        try:
            remove(folder)
            freed += size
        except BlockingIOError:
            refused[name] = "being fetched"
        except OSError as error:
            refused[name] = str(error)
    left = [describe(folder, used) for folder in builds(root)]
    free = shutil.disk_usage(root).free if root.is_dir() else 0
    return {"builds": left, "refused": refused, "freed_bytes": freed, "free_bytes": free}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), json.load(sys.stdin))))  # noqa: T201 - a program of its own on the box
