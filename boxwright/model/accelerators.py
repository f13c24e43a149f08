"""The accelerator catalogue: which cards exist, by the ids that `lspci` shows, and what each needs and can do.

Every figure stands in a group that names its source. A figure without a source that can be looked up is left out
(`null`) rather than recalled, so whoever reads one must be ready for `None`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from boxwright.model.base import Frozen, Identifier
from boxwright.model.mig import MigKind, MigProfileName

PciId = Annotated[str, Field(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4}$")]  # vendor:device, or subsystem vendor:device
Flavour = Literal["open", "closed"]
VendorName = Literal["nvidia", "amd", "huawei", "hygon"]
Branch = Annotated[int, Field(ge=100, le=999)]
Version = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9a-z]+)*$")]


class Document(Frozen):
    """A document that can be looked up. `publisher` tells the vendor's own from others'."""

    title: str
    publisher: str


class Source(Frozen):
    """Where a group of figures stands: a document of the catalogue's list, and the section in it."""

    document: Identifier
    section: str


class Sourced(Frozen):
    """A group of figures with one source."""

    source: Source


class Memory(Sourced):
    """The card's own memory, as its maker states it; what a driver shows is a little less."""

    gb: Annotated[int, Field(gt=0)]


class Throughput(Sourced):
    """How fast the card can be at best: what a model's speed is predicted from."""

    bandwidth_gb_s: Annotated[int, Field(gt=0)]  # of its memory; decimal
    fp16_tflops: Annotated[float, Field(gt=0)]  # dense, by its matrix units, sums in 32 bits
    fp8_tflops: Annotated[float, Field(gt=0)] | None = None  # None: it does not compute in 8 bits


class Power(Sourced):
    """The most that the board draws by default."""

    board_w: Annotated[int, Field(gt=0)]


class Pcie(Sourced):
    """The fastest link that the card itself can have."""

    generation: Annotated[int, Field(ge=1, le=7)]
    width: Annotated[int, Field(ge=1, le=16)] = 16


class Architecture(Sourced):
    """What compilers and wheels are made for."""

    target: Annotated[str, Field(pattern=r"^(sm_[0-9]+|gfx[0-9a-f]+)$")]
    compute_capability: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]$")] | None = None


class DriverRange(Sourced):
    """Which kernel module and which driver branches go with the card."""

    flavours: Annotated[tuple[Flavour, ...], Field(min_length=1)]  # the first is the recommended one
    branch_min: Branch | None = None
    branch_max: Branch | None = None
    closed_branch_max: Branch | None = None  # later branches have no closed module any more

    def allows(self, branch: int, flavour: Flavour) -> bool:
        """Whether a driver of this branch and flavour runs the card."""
        highest = self.branch_max or branch
        if flavour == "closed":
            highest = min(highest, self.closed_branch_max or highest)
        return flavour in self.flavours and (self.branch_min or 0) <= branch <= highest


class CudaRange(Sourced):
    """The CUDA toolkits that can build for the card; an open end is `null`."""

    min: Version | None = None
    max: Version | None = None


class Fabric(Sourced):
    """How cards of this kind reach each other. `null` is not known."""

    nvlink: bool | None = None
    nvlink_gb_s: Annotated[int, Field(gt=0)] | None = None
    nvswitch: Literal["always", "on HGX boards", "never"] | None = None
    p2p: Literal["nvlink", "xgmi", "pcie", "none"] | None = None


class MigProfile(MigKind):
    """A kind of slice, and its name."""

    name: MigProfileName


class Mig(Sourced):
    """The kinds of slices that the card can be cut into (NVIDIA's MIG), by NVIDIA's names for them."""

    parts: Annotated[int, Field(ge=1, le=8)] = 8  # that the card's memory is divided into
    profiles: tuple[MigProfile, ...]

    @property
    def kinds(self) -> dict[str, MigKind]:
        """Each kind by its name."""
        return {one.name: one for one in self.profiles}


class EngineRange(Sourced):
    """The releases of an engine that run on the card. `supported: false` when none does."""

    engine: Literal["vllm", "vllm_ascend", "vllm_rocm", "ollama", "ktransformers", "tensorrt_llm"]
    supported: bool = True
    min: Version | None = None
    max: Version | None = None


class Variant(Sourced):
    """One kind of board of an accelerator. The source is that of its ids and names."""

    name: str
    pci_ids: Annotated[tuple[PciId, ...], Field(min_length=1)]
    subsystems: tuple[PciId, ...] = ()  # none: any. Only where one id stands for different boards
    aliases: tuple[str, ...] = ()  # as lspci and the vendor's tool show it
    form: Literal["pcie", "sxm", "oam"] | None = None
    memory: Memory | None = None
    throughput: Throughput | None = None
    power: Power | None = None
    pcie: Pcie | None = None
    fabric: Fabric | None = None  # where it differs from the accelerator's
    mig: Mig | None = None  # None: it is not cut, or nobody says how


class Accelerator(Frozen):
    """A kind of accelerator. Without a recipe it is recognised and named, and nothing is installed for it."""

    id: Identifier
    vendor: VendorName
    name: str
    recipe: bool = True
    architecture: Architecture | None = None
    driver: DriverRange | None = None
    cuda: CudaRange | None = None
    fabric: Fabric | None = None
    engines: tuple[EngineRange, ...] = ()
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]

    def fabric_of(self, variant: Variant) -> Fabric | None:
        """How boards of this variant reach each other."""
        return variant.fabric or self.fabric


class Named(Sourced):
    """Something that is only recognised: a switch of a fabric, or a vendor of accelerators."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{4}(:[0-9a-f]{4})?$")]
    name: str


class AcceleratorCatalogue(Frozen):
    """Every accelerator, fabric switch and vendor of accelerators that Boxwright knows by its PCI id."""

    documents: dict[Identifier, Document]
    accelerators: tuple[Accelerator, ...]
    switches: tuple[Named, ...] = ()  # NVSwitch bridges: their presence, not a name, makes a machine an HGX
    vendors: tuple[Named, ...] = ()  # whose accelerators are named, with no recipe, when the id is not known

    @model_validator(mode="after")
    def _ids_are_unique(self) -> AcceleratorCatalogue:
        boards = [board for one in self.accelerators for board in one.variants]
        keys = [one.id for one in self.accelerators]
        for board in boards:
            keys += [f"{pci} {sub}".strip() for pci in board.pci_ids for sub in board.subsystems or [""]]
        keys += [named.id for named in (*self.switches, *self.vendors)]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"stands more than once: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _sources_are_listed(self) -> AcceleratorCatalogue:
        missing = sorted({source.document for source in self.sources()} - set(self.documents))
        if missing:
            raise ValueError(f"a source names a document that is not listed: {', '.join(missing)}")
        return self

    def sources(self) -> list[Source]:
        """The source of every group of figures."""
        found: list[Source] = [named.source for named in (*self.switches, *self.vendors)]
        for one in self.accelerators:
            groups = (one.architecture, one.driver, one.cuda, one.fabric, *one.engines)
            found += [group.source for group in groups if group]
            for board in one.variants:
                groups_of_board = (
                    board,
                    board.memory,
                    board.throughput,
                    board.power,
                    board.pcie,
                    board.fabric,
                    board.mig,
                )
                found += [group.source for group in groups_of_board if group]
        return found

    def get(self, accelerator: str) -> Accelerator | None:
        """The accelerator of this id."""
        return next((one for one in self.accelerators if one.id == accelerator), None)

    def find(self, pci_id: str, subsystem: str = "") -> tuple[Accelerator, Variant] | None:
        """The accelerator and board of a PCI id. A board that names the subsystem goes before one that takes any."""
        hits = [(one, board) for one in self.accelerators for board in one.variants if pci_id in board.pci_ids]
        exact = [hit for hit in hits if subsystem in hit[1].subsystems]
        return next(iter(exact or [hit for hit in hits if not hit[1].subsystems]), None)

    def vendor(self, vendor_id: str) -> str | None:
        """The name of a vendor of accelerators, by the first half of a PCI id."""
        return next((vendor.name for vendor in self.vendors if vendor.id == vendor_id), None)

    def is_switch(self, pci_id: str) -> bool:
        """Whether this is a switch of a GPU fabric."""
        return any(switch.id == pci_id for switch in self.switches)
