"""Which machine and which models a person means."""

from __future__ import annotations

import re
from pathlib import Path

from boxwright.errors import BadInputError, did_you_mean
from boxwright.model.accelerators import AcceleratorCatalogue
from boxwright.model.catalogue import Model, ModelCatalogue
from boxwright.model.catalogues import load_profile
from boxwright.sizing.config_json import model_of
from boxwright.sizing.machine import Machine, cards_alone, machine_of

_TAG = re.compile(r"^(?P<family>[a-z0-9.-]+):(?P<size>[0-9.]+b)$")
_LARGEST = "671b"


def machine_meant(profile: str, gpu: str, count: int, catalogue: AcceleratorCatalogue) -> Machine:
    """The machine of a profile, or of cards alone.

    Args:
        profile: Name or file of a profile; empty: cards alone.
        gpu: A card as people call it: `V100-32GB`, `RTX 4090`, `h20-141`.
        count: How many of them.
        catalogue: The cards that are known.

    Raises:
        BadInputError: Neither or both are given, or there is no such card.
    """
    if bool(profile) == bool(gpu):
        raise BadInputError("which machine?", hint="Either --profile NAME, or --gpu CARD --count N.")
    if profile:
        known = load_profile(profile)
        return machine_of(known.name, known.hardware, known.nodes, catalogue)
    if count < 1:
        raise BadInputError(f"--count {count}: a machine has at least one card", hint="For example --count 8.")
    boards = {_plain(variant.name): (one, variant) for one in catalogue.accelerators for variant in one.variants}
    words = _words(gpu)
    found = [key for key, (one, _) in boards.items() if words <= _words(key) | _words(one.name)]
    sized = [key for key in found if boards[key][1].memory]
    if not sized:
        raise BadInputError(
            f"no card '{gpu}'.{did_you_mean(_plain(gpu), sorted(boards))}",
            hint=f"There are: {', '.join(sorted(variant.name for _, variant in boards.values() if variant.memory))}.",
        )
    return cards_alone(*boards[min(sized, key=lambda key: (len(key), key))], count)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", " ", name.lower()).strip()


def _words(name: str) -> set[str]:
    """Words and numbers: `V100-32GB` and `Tesla V100 PCIe 32GB` share `v100` and `32gb`."""
    return set(_plain(name).split())


def models_meant(name: str, catalogue: ModelCatalogue) -> list[Model]:
    """The model of an id, an alias, a familiar tag such as `deepseek-r1:32b`, or of a folder with a `config.json`.

    Without a name: all that answer.

    Raises:
        BadInputError: There is no such model.
    """
    if not name:
        return [model for model in catalogue.models if model.purpose != "embedding"]
    if "/" in name or name.endswith(".json"):
        return [model_of(Path(name).expanduser())]
    model = catalogue.find(name) or _tagged(name.lower(), catalogue)
    if model is None:
        tags = [build.ollama for one in catalogue.models for build in one.builds if build.ollama]
        raise BadInputError(
            f"no model '{name}'.{did_you_mean(name, [*catalogue.names(), *tags])}", hint="./invoke models lists them."
        )
    return [model]


def _tagged(name: str, catalogue: ModelCatalogue) -> Model | None:
    """By a tag of Ollama's library: that of a build, or family and size."""
    for model in catalogue.models:
        if any(build.ollama == name for build in model.builds):
            return model
    tag = _TAG.match(name)
    if tag is None:
        return None
    family, size = tag["family"], tag["size"]
    fitting = [model for model in catalogue.models if model.id.startswith(family) and model.id.endswith(f"-{size}")]
    return fitting[0] if fitting else catalogue.find(family) if size == _LARGEST else None
