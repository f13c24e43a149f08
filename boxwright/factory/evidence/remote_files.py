"""Runs on the box, sent there as source: puts files beside the receipt, each whole or not at all, where they differ.

Reads a JSON object of texts by file name on standard input; the folder is the one argument. Standard library only, for
whatever Python 3 the box has.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def place(path: Path, data: bytes) -> None:
    """Have a file with these bytes, for everybody to read."""
    if path.is_file() and path.read_bytes() == data:
        return
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), 0o644)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def main(folder: Path, texts: dict[str, str]) -> None:
    """Place them all."""
    folder.mkdir(mode=0o755, exist_ok=True)
    for name, text in sorted(texts.items()):
        place(folder / name, text.encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.load(sys.stdin))
