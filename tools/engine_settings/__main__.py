"""Makes tables anew: `python -m tools.engine_settings [--cache DIR] [ENGINE …]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from boxwright import places
from boxwright.model.catalogues import INVENTORIES, load_engine
from tools.engine_settings import artefacts, files, readers


def main() -> int:
    """Read what the arguments name, and say what became of each file."""
    parser = argparse.ArgumentParser(prog="python -m tools.engine_settings", description=__doc__)
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"{', '.join(readers.READERS)}; none: all")
    parser.add_argument("--cache", type=Path, help="where wheels are kept, and what is unpacked from them")
    chosen = parser.parse_args()
    cache = chosen.cache or places.cache() / "engine-settings"
    for engine in chosen.engines or readers.READERS:
        if engine not in readers.READERS:
            parser.error(f"no reader of '{engine}'; there are: {', '.join(readers.READERS)}")
        path = INVENTORIES / "engines" / f"{engine}.yml"
        try:
            made = readers.read(engine, files.releases(path), cache, lambda text: _say(f"reading {text}"))
        except artefacts.ArtefactError as error:
            _say(f"{engine}: {error}")
            return 1
        changed = files.write(path, made)
        _say(f"{path}: {sum(map(len, made.values()))} rows, {'written anew' if changed else 'as it was'}")
        load_engine(engine)  # whether what was written can be read, with what is kept by hand
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
