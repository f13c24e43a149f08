"""How a program is built from source for a kind of box: what of it makes two builds the same."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from boxwright.model.base import AbsolutePath, Frozen, Sha256
from boxwright.model.catalogue import RelativePath
from boxwright.model.hardware import CpuFlag
from boxwright.model.versions import ReleaseName


class ProgramSource(Frozen):
    """An archive with source code: a file of the controller, or a source distribution of the Python package index."""

    sha256: Sha256
    folder: RelativePath | None  # below which it lies in the archive; None: its only one
    path: str | None
    package: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] | None
    package_version: str | None

    @model_validator(mode="after")
    def _is_somewhere(self) -> ProgramSource:
        if (self.path is None) == (self.package is None) or bool(self.package) != bool(self.package_version):
            raise ValueError("source code is a file of the controller or a package in a version")
        return self


class ProgramBuild(Frozen):
    """What a program is built of, by what, and for what. Boxes for which all of it is equal share one build."""

    version: ReleaseName
    source: ProgramSource
    cmake: tuple[str, ...]  # arguments of the configuration: options, instruction sets, CUDA and its architectures
    targets: tuple[str, ...]
    mounts: tuple[AbsolutePath, ...]  # folders of the box that the build reads: NVIDIA's toolkit
    cpu_flags: tuple[CpuFlag, ...]  # what processors must be able to do, as /proc/cpuinfo shows it
