"""The model catalogue: which models exist, what they are made of, and the builds of their weights that can be had."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from boxwright.errors import did_you_mean
from boxwright.model.architecture import Architecture
from boxwright.model.base import Frozen, HttpUrl, Identifier, Sha256

GIB = 1 << 30
WeightFormat = Literal["gguf", "safetensors"]
Purpose = Literal["chat", "completion", "embedding"]  # completion: it was never taught to answer
HubName = Literal["huggingface", "modelscope", "ollama"]
# A path below the folder of a build: no empty, hidden or parent segments, nothing that a shell reads.
RelativePath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*$")]
Repository = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$")]
Revision = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]
Pattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/*?+-]+$")]
OllamaTag = Annotated[str, Field(pattern=r"^[a-z0-9._-]+(/[a-z0-9._-]+)?:[A-Za-z0-9._-]+$")]

_BYTES_PER_WEIGHT = {"BF16": 2, "FP16": 2, "FP32": 4}


class PackageSource(Frozen):
    """A file inside a wheel of a Python package index."""

    package: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    version: str
    wheel_sha256: Sha256
    member: str  # path of the file inside the wheel; `a.zip!/b` is b inside the archive a.zip


class HubRepository(Frozen):
    """A repository of a model hub, and which of its files make up a build."""

    repository: Repository
    revision: Revision | None = None  # None: the newest; digests guard what is fetched either way
    patterns: Annotated[tuple[Pattern, ...], Field(min_length=1)] = ("*",)  # of paths in it; `*` crosses folders


class ModelFile(Frozen):
    """One file of a build, and what it must be."""

    name: RelativePath  # below the build's folder on the box
    path: RelativePath | None = None  # in the hub's repository, where it is another
    bytes: Annotated[int, Field(gt=0)]
    sha256: Sha256
    url: HttpUrl | None = None  # an address of its own, besides those of the hubs
    python_packages: tuple[PackageSource, ...] = ()  # of several, the members one after the other are the file

    @property
    def hub_path(self) -> str:
        """Where it lies in a hub's repository."""
        return self.path or self.name


class Build(Frozen):
    """The weights of a model in one format and precision."""

    name: Identifier
    format: WeightFormat
    quantization: str  # BF16, FP8, Q4_K_M, UD-IQ1_S, …
    bytes: Annotated[int, Field(gt=0)] | None = None  # exact sum of the weights, where no files say it
    size_gib: Annotated[float, Field(gt=0)] | None = None  # rounded, where nothing exact is known
    shards: Annotated[int, Field(gt=0)] | None = None  # files of weights
    source: str | None = None  # of size and shards
    huggingface: HubRepository | None = None
    modelscope: HubRepository | None = None
    ollama: OllamaTag | None = None  # its file of weights, by digest
    files: tuple[ModelFile, ...] = ()  # none: no digests are pinned, so it is known and not fetched

    @property
    def pinned(self) -> bool:
        """Whether every file's size and digest is known, so that it may be fetched."""
        return bool(self.files)

    @property
    def known_bytes(self) -> int | None:
        """Bytes of the files, exact where it can be."""
        if self.files:
            return sum(file.bytes for file in self.files)
        return self.bytes or (round(self.size_gib * GIB) if self.size_gib else None)

    @model_validator(mode="after")
    def _size_is_said_once(self) -> Build:
        said = [name for name in ("files", "bytes", "size_gib") if getattr(self, name)]
        if len(said) > 1:
            raise ValueError(f"build {self.name}: of files, bytes and size_gib, one says the size, not {said}")
        if (self.bytes or self.size_gib or self.shards) and not self.source:
            raise ValueError(f"build {self.name}: say where size and shards come from (source)")
        return self

    @model_validator(mode="after")
    def _files_can_be_had(self) -> Build:
        names = [file.name for file in self.files]
        if len(set(names)) != len(names):
            raise ValueError(f"build {self.name}: two files have one name")
        from_hub = self.huggingface or self.modelscope or self.ollama
        homeless = [one.name for one in self.files if not (one.url or one.python_packages or from_hub)]
        if homeless:
            raise ValueError(f"build {self.name}: nothing says where {homeless[0]} comes from")
        return self


class Sampling(Frozen):
    """How the model's makers say that its next word is to be drawn, where a request says nothing."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Field(gt=0)] | None = None


class Model(Frozen):
    """A model that the stack can serve."""

    id: Identifier
    aliases: tuple[Identifier, ...] = ()
    title: str
    license: str
    purpose: Purpose = "chat"
    reasoning_parser: str | None = None  # by vLLM's name, of a model that thinks before it answers
    sampling: Sampling = Sampling()
    ollama_template: str | None = None  # in Ollama's template language; None: the one that the weights carry
    parameters: Annotated[int, Field(gt=0)]
    context_length: Annotated[int, Field(gt=0)]  # tokens the model was made for
    architecture: Architecture
    builds: Annotated[tuple[Build, ...], Field(min_length=1)]  # the preferred one of each format first

    @model_validator(mode="after")
    def _builds_are_distinct(self) -> Model:
        names = [build.name for build in self.builds]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{self.id}: two builds are called {', '.join(twice)}")
        if '"""' in (self.ollama_template or ""):
            raise ValueError(f"{self.id}: three quotes end a template in a Modelfile")
        return self

    def build(self, name: str) -> Build | None:
        """The build of this name."""
        return next((build for build in self.builds if build.name == name), None)

    def weight_bytes(self, build: Build) -> int | None:
        """Bytes of a build's weights: known, or for an unquantized one counted from its parameters."""
        per_weight = _BYTES_PER_WEIGHT.get(build.quantization)
        return build.known_bytes or (self.parameters * per_weight if per_weight else None)

    def preferred(self, formats: Iterable[WeightFormat]) -> Build | None:
        """The first build of the first of these formats that there is one of."""
        return next((build for wanted in formats for build in self.builds if build.format == wanted), None)


def best_build(
    model: Model, memory_bytes: int, formats: Iterable[WeightFormat] = ("safetensors", "gguf")
) -> Build | None:
    """The largest build whose weights fit: of builds of one model, more bytes are more precision.

    Args:
        model: The model.
        memory_bytes: What there is for weights alone. The caller has set aside what the KV cache, activations and the
            engine itself take.
        formats: The formats that the engine reads.

    Returns:
        The build, or None where not even the smallest fits. One of unknown size is never chosen.
    """
    allowed = set(formats)
    sizes = [(model.weight_bytes(build), build) for build in model.builds if build.format in allowed]
    fitting = [(size, build) for size, build in sizes if size is not None and size <= memory_bytes]
    return max(fitting, key=lambda one: one[0])[1] if fitting else None


class Pin(Frozen):
    """The files of a build with their digests, apart from the model: as `./invoke models.pin` prints them."""

    model: Identifier
    build: Identifier
    huggingface: HubRepository | None = None  # replaces the build's own, with the commit that was pinned
    modelscope: HubRepository | None = None
    ollama: OllamaTag | None = None
    files: Annotated[tuple[ModelFile, ...], Field(min_length=1)]


class ModelCatalogue(Frozen):
    """Every model that Boxwright knows, or what one file says of them."""

    models: tuple[Model, ...] = ()
    pins: tuple[Pin, ...] = ()

    @model_validator(mode="after")
    def _ids_are_unique(self) -> ModelCatalogue:
        names = self.names()
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named more than once: {', '.join(twice)}")
        return self

    def names(self) -> list[str]:
        """Every id and alias."""
        return [name for model in self.models for name in (model.id, *model.aliases)]

    def find(self, name: str) -> Model | None:
        """The model of this id or alias."""
        return next((model for model in self.models if name == model.id or name in model.aliases), None)

    def with_pins(self, pins: Iterable[Pin]) -> ModelCatalogue:
        """The same models, with the files that the pins name.

        Raises:
            ValueError: A pin is for a model or a build that there is not.
        """
        models = {model.id: model for model in self.models}
        for pin in pins:
            model = self.find(pin.model)
            if model is None:
                raise ValueError(f"pins: no model '{pin.model}'.{did_you_mean(pin.model, self.names())}")
            models[model.id] = _pinned(models[model.id], pin)
        return ModelCatalogue(models=tuple(models.values()))


def _pinned(model: Model, pin: Pin) -> Model:
    build = model.build(pin.build)
    if build is None:
        known = [one.name for one in model.builds]
        raise ValueError(f"pins: {model.id} has no build '{pin.build}'.{did_you_mean(pin.build, known)}")
    sized = {"bytes": None, "size_gib": None, "shards": None, "files": pin.files}
    hubs = {name: getattr(pin, name) or getattr(build, name) for name in ("huggingface", "modelscope", "ollama")}
    fresh = Build.model_validate(dict(build) | sized | hubs)
    return model.model_copy(update={"builds": tuple(fresh if one is build else one for one in model.builds)})
