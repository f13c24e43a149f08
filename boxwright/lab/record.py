"""What a twin was made as: the file that says that it is whole."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from boxwright.lab.places import TwinPlaces
from boxwright.lab.spec import TwinSpec
from boxwright.model.site import Distribution, TwinKind


@dataclass(frozen=True)
class TwinRecord:
    """What a twin was made as; it stands in `twin.json`."""

    name: str
    distribution: Distribution
    octet: int
    hardware: dict[str, object]
    disk_mib: int | None
    containers: bool
    vendors: bool
    devices: list[str]
    base: str
    kind: TwinKind = "container"

    @classmethod
    def read(cls, places: TwinPlaces) -> TwinRecord | None:
        """The record of a whole twin; none for a half-made one."""
        try:
            return cls(**json.loads(places.record.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, places: TwinPlaces) -> None:
        """Say that the twin is whole; atomically."""
        draft = places.record.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self), indent=1))
        draft.replace(places.record)

    def matches(self, spec: TwinSpec) -> bool:
        """Whether the twin is what `spec` asks for."""
        return replace(self, base="") == record_of(spec, self.octet, base="")


def record_of(spec: TwinSpec, octet: int, *, base: str) -> TwinRecord:
    """The record of a twin that is made now."""
    return TwinRecord(
        name=spec.name,
        distribution=spec.distribution,
        octet=octet,
        hardware=spec.hardware.model_dump(mode="json"),
        disk_mib=spec.disk_mib,
        containers=spec.containers,
        vendors=spec.vendors,
        devices=[str(device) for device in spec.devices],
        base=base,
        kind=spec.kind,
    )
