"""Measurements in the folders of runs, on the controller: one file a host and kind, `bench-lab-1.json`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from boxwright import places
from boxwright.errors import BoxwrightError
from boxwright.reports.measurements import Kind, Measurements
from boxwright.whole_files import write_whole


def write_measurements(folder: Path, measured: Measurements) -> Path:
    """Write what was measured on one host into the folder of its run, whole or not at all; returns the file."""
    text = measured.model_dump_json(indent=2) + "\n"
    return write_whole(folder / f"{measured.kind}-{measured.host}.json", text.encode(), 0o600)


def newest_measurements(site: str, profile: str, host: str) -> dict[Kind, Measurements]:
    """What was last measured on a host while it was this kind of box, by kind.

    Raises:
        BoxwrightError: A file among them cannot be read. Nothing that was measured is left out in silence.
    """
    newest: dict[Kind, Measurements] = {}
    for path in _files(host):
        measured = _read(path)
        if (measured.site, measured.profile, measured.host) != (site, profile, host):
            continue
        before = newest.get(measured.kind)
        if before is None or measured.started_at > before.started_at:
            newest[measured.kind] = measured
    return newest


def _files(host: str) -> Iterator[Path]:
    runs = places.state() / "runs"
    for kind in ("bench", "burnin"):
        yield from sorted(runs.glob(f"*/{kind}-{host}.json"))


def _read(path: Path) -> Measurements:
    try:
        return Measurements.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BoxwrightError(
            f"these measurements cannot be read: {str(error).splitlines()[0]}",
            where=str(path),
            hint="Measure again and remove the file; until then no certificate can say what was measured.",
        ) from None
