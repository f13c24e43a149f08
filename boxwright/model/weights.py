"""Which weights a service serves: the model that it names, in a build that its engine reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from boxwright.errors import did_you_mean
from boxwright.model.base import AbsolutePath, Frozen, HttpUrl, Sha256
from boxwright.model.catalogue import Build, Model, ModelCatalogue, PackageSource, RelativePath, WeightFormat
from boxwright.model.stack import EngineName, Service, Stack

# What each engine loads, what it does best with first.
ENGINE_FORMATS: dict[EngineName, tuple[WeightFormat, ...]] = {
    "llama_cpp": ("gguf",),
    "ollama": ("gguf",),
    "vllm": ("safetensors", "gguf"),  # a GGUF is turned into safetensors on the box
    "vllm_ascend": ("safetensors",),
    "vllm_rocm": ("safetensors",),
    "ktransformers": ("safetensors", "gguf"),
    "tensorrt_llm": ("safetensors",),
}


class WantedFile(Frozen):
    """A file that a box is to have, with every place that may have it."""

    name: RelativePath  # below the build's folder
    path: RelativePath | None  # in a hub's repository, where it is another
    bytes: int
    sha256: Sha256
    urls: tuple[HttpUrl, ...]  # the preferred one first
    python_packages: tuple[PackageSource, ...]


class WantedBuild(Frozen):
    """A build that a box is to have."""

    name: str  # model/build
    directory: AbsolutePath
    files: tuple[WantedFile, ...]


@dataclass(frozen=True)
class Weights:
    """A build of a model."""

    model: Model
    build: Build

    def folder(self, models_directory: str) -> str:
        """Where they lie on a box. Each build has a folder of its own: file names of builds may be equal."""
        return str(PurePosixPath(models_directory) / self.model.id / self.build.name)

    def path(self, models_directory: str) -> str:
        """What an engine is told to load: the first file of a GGUF, or the folder of safetensors.

        Where nothing is pinned yet, nobody knows the file's name, and the folder is all that can be said.
        """
        folder = self.folder(models_directory)
        if self.build.format == "gguf" and self.build.files:
            return f"{folder}/{self.build.files[0].name}"
        return folder

    @property
    def name(self) -> str:
        """As a person reads it: model/build."""
        return f"{self.model.id}/{self.build.name}"


def weights_of(service: Service, catalogue: ModelCatalogue) -> Weights:
    """Look up what a service serves.

    Raises:
        ValueError: There is no such model or build, or the engine does not read it.
    """
    model = catalogue.find(service.model)
    if model is None:
        raise ValueError(f"no model '{service.model}'.{did_you_mean(service.model, catalogue.names())}")
    formats = ENGINE_FORMATS[service.engine]
    if service.build is None:
        build = model.preferred(formats)
        if build is None:
            raise ValueError(f"{service.engine} reads {' or '.join(formats)}, and {model.id} has no such build")
        return Weights(model, build)
    build = model.build(service.build)
    if build is None:
        known = [one.name for one in model.builds]
        near = did_you_mean(service.build, known) or f" There are: {', '.join(known)}."
        raise ValueError(f"{model.id} has no build '{service.build}'.{near}")
    if build.format not in formats:
        raise ValueError(
            f"{service.engine} reads {' or '.join(formats)}, and {model.id}/{build.name} is {build.format}"
        )
    return Weights(model, build)


def parts_of(service: Service, catalogue: ModelCatalogue) -> tuple[Weights, ...]:
    """Everything that a service loads. The first is what its cards are given.

    KTransformers takes only the experts out of a GGUF; the rest comes from the model as it was published.

    Raises:
        ValueError: There is no such model or build, or nothing was published that its cards could be given.
    """
    weights = weights_of(service, catalogue)
    if service.engine != "ktransformers" or weights.build.format != "gguf":
        return (weights,)
    published = weights.model.preferred(("safetensors",))
    if published is None:
        raise ValueError(f"ktransformers takes the experts out of {weights.name}, and the rest is not in the catalogue")
    return Weights(weights.model, published), weights


def embedding_service(stack: Stack, catalogue: ModelCatalogue) -> Service | None:
    """The service of the stack that turns documents of the chat page into vectors; None where there is none."""
    model = catalogue.find(stack.embedding) if stack.embedding else None
    return next((one for one in stack.services if model and catalogue.find(one.model) == model), None)


def page_weights(stack: Stack, catalogue: ModelCatalogue) -> Weights | None:
    """What the chat page loads itself, to search documents by; None where an engine does that, or nobody.

    Raises:
        ValueError: There is no such model, it makes no vectors, or the page could not load it.
    """
    if not stack.embedding or embedding_service(stack, catalogue):
        return None
    model = catalogue.find(stack.embedding)
    if model is None:
        raise ValueError(f"no model '{stack.embedding}'.{did_you_mean(stack.embedding, catalogue.names())}")
    if model.purpose != "embedding":
        raise ValueError(f"{model.id} answers, and makes no vectors of documents")
    build = model.preferred(("safetensors",))
    if build is None:
        raise ValueError(
            f"Open WebUI itself loads safetensors, and {model.id} has no such build: serve it under further"
        )
    return Weights(model, build)
