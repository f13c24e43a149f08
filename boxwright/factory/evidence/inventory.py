"""What lies on a box, as it was found there. Frozen values; `collect` asks a box for them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from boxwright.model.base import Frozen

# Of these names purls are made, which need one: a box that tells none is not understood.
Named = Annotated[str, Field(pattern=r"[^/\s]")]
Repository = Annotated[str, Field(pattern=r"[^/\s]$")]
BuildName = Annotated[str, Field(pattern=r"^[^/\s]+/")]  # MODEL/BUILD


class Found(Frozen):
    """What a box tells, to the letter: no blank is taken away."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)


class System(Found):
    """The operating system, by its own release file, and the kernel that runs."""

    id: str
    version: str
    title: str
    codename: str
    kernel: str


class DebianPackage(Found):
    """A package that dpkg has installed.

    Attributes:
        source: The source package that it was built from.
        licenses: Short names, where its copyright file is one for programs.
        sha256: Of its archive, where apt's lists on the box tell it; else empty.
        simulated: It is an empty shell under a vendor's name, on a twin.
    """

    name: Named
    version: str
    architecture: str
    source: str
    source_version: str
    licenses: tuple[str, ...]
    sha256: str
    simulated: bool


class UnpackedPackage(Found):
    """A Debian package that was unpacked into a folder of its own, with the digest of its archive."""

    name: Named
    version: str
    sha256: str


class Wheel(Found):
    """A distribution in a Python environment.

    Attributes:
        expression: Its licence as an SPDX expression; empty where it has none.
        licenses: The same as classifiers of the index.
        license: The same as free text.
        record_sha256: Digest of its RECORD, which holds the digest of each of its files.
        sha256: Digest of its archive, noted when it was installed; empty where it was not, and no lock knows it.
    """

    name: Named
    version: str
    expression: str
    licenses: tuple[str, ...]
    license: str
    record_sha256: str
    sha256: str = ""


class Program(Found):
    """A version of a program below /opt/boxwright.

    Attributes:
        links: Names that point at it, such as `current`.
        packages: Of Debian, that it was unpacked from.
        wheels: Of the Python environment that it is.
        build: How it was built from source, by its BUILD.json.
    """

    name: Named
    version: str
    links: tuple[str, ...]
    simulated: bool
    packages: tuple[UnpackedPackage, ...]
    wheels: tuple[Wheel, ...]
    build: dict[str, Any]

    @property
    def path(self) -> str:
        """Where it lies."""
        return f"/opt/boxwright/{self.name}/{self.version}"


class WeightFile(Found):
    """A file of a model, with its size in bytes; the digest is empty where none was recorded, or no longer fits."""

    name: str
    bytes: int
    sha256: str


class ModelBuild(Found):
    """The weights of a model as MODEL/BUILD; `converted` ones were made on the box."""

    name: BuildName
    converted: bool
    files: tuple[WeightFile, ...]


class ContainerImage(Found):
    """An image of Docker. The digest is that of its registry, and `<none>` for one that was never there."""

    repository: Repository
    tag: str
    digest: str
    id: str


class KernelModule(Found):
    """A module that did not come with the kernel's own package, such as a driver."""

    name: Named
    path: str
    version: str
    license: str
    sha256: str


class Inventory(Found):
    """Everything that was found on a box.

    Attributes:
        twin: The box is a throw-away twin: its hardware is SIMULATED, and the kernel is the controller's.
        receipt: The text of its receipt; empty where it has none.
    """

    system: System
    twin: bool
    receipt: str
    packages: tuple[DebianPackage, ...]
    programs: tuple[Program, ...]
    models: tuple[ModelBuild, ...]
    images: tuple[ContainerImage, ...]
    modules: tuple[KernelModule, ...]
