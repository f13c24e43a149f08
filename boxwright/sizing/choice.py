"""Which machine and which models a person means."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pydantic import ValidationError

from boxwright.detection.machine import Machine as MachineFound
from boxwright.detection.profile_file import hardware_of
from boxwright.errors import BadInputError, did_you_mean
from boxwright.model.accelerators import AcceleratorCatalogue
from boxwright.model.catalogue import Model, ModelCatalogue
from boxwright.model.catalogues import load_profile
from boxwright.sizing.config_json import model_of
from boxwright.sizing.gguf_header import gguf_model_of
from boxwright.sizing.machine import Machine, cards_alone, machine_of, slice_alone

_TAG = re.compile(r"^(?P<family>[a-z0-9.-]+):(?P<size>[0-9.]+b)$")
_LARGEST = "671b"


def machine_meant(profile: str, gpu: str, count: int, box: str, catalogue: AcceleratorCatalogue) -> Machine:
    """The machine of a profile, one that was looked at, or cards alone.

    Args:
        profile: Name or file of a profile.
        gpu: A card as people call it: `V100-32GB`, `RTX 4090`, `h20-141`.
        count: How many of them.
        box: A file with what `./invoke detect --json` found on a machine.
        catalogue: The cards that are known.

    Raises:
        BadInputError: None or several are given, there is no such card, or the file tells of no machine.
    """
    if [bool(profile), bool(gpu), bool(box)].count(True) != 1:
        raise BadInputError("which machine?", hint="One of --profile NAME, --gpu CARD --count N, --box FILE.")
    if box:
        looked_at = machine_found(Path(box).expanduser())
        return machine_of(looked_at.host, hardware_of(looked_at, catalogue), 1, catalogue)
    if profile:
        known = load_profile(profile)
        machine = machine_of(known.name, known.hardware, known.nodes, catalogue)
        own = known.stack.mig_slice
        return slice_alone(machine, own) if own else machine
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


def machine_found(path: Path) -> MachineFound:
    """The machine in a file that `./invoke detect --json` has written.

    Raises:
        BadInputError: It cannot be read, or tells of none or of several.
    """
    hint = "Write it by: ./invoke detect --host USER@ADDRESS --json > FILE"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        told = [line for line in lines if isinstance(line, dict) and line.pop("type", "") == "machine"]
        if len(told) != 1:
            raise BadInputError(f"{path}: it tells of {len(told)} machines, and not of one", hint=hint)
        return MachineFound.model_validate(told[0])
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror}", hint=hint) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}", hint=hint) from None
    except ValueError as error:
        raise BadInputError(f"{path}: no lines of JSON: {error}", hint=hint) from None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", " ", name.lower()).strip()


def _words(name: str) -> set[str]:
    """Words and numbers: `V100-32GB` and `Tesla V100 PCIe 32GB` share `v100` and `32gb`."""
    return set(_plain(name).split())


def models_meant(name: str, catalogue: ModelCatalogue) -> list[Model]:
    """The model of an id, an alias, a familiar tag such as `deepseek-r1:32b`, or of files of this
    machine: a GGUF, a `config.json`, or a folder with one.

    Without a name: all that answer.

    Raises:
        BadInputError: There is no such model.
    """
    if not name:
        return [model for model in catalogue.models if model.purpose != "embedding"]
    if "/" in name or name.endswith((".json", ".gguf")):
        return [_local(Path(name).expanduser())]
    model = catalogue.find(name) or _tagged(name.lower(), catalogue)
    if model is None:
        tags = [build.ollama for one in catalogue.models for build in one.builds if build.ollama]
        raise BadInputError(
            f"no model '{name}'.{did_you_mean(name, [*catalogue.names(), *tags])}", hint="./invoke models lists them."
        )
    return [model]


def _local(path: Path) -> Model:
    """The model of a GGUF or a `config.json`, or of a folder that has one of them."""
    files = sorted(path.glob("*.gguf")) if path.is_dir() and not (path / "config.json").exists() else []
    if len(files) > 1 and not files[0].name.endswith(f"-00001-of-{len(files):05}.gguf"):
        raise BadInputError(f"{path}: it holds {len(files)} GGUFs", hint=f"Name one of them: {files[0]}")
    if files or path.suffix == ".gguf":
        return gguf_model_of(files[0] if files else path)
    return model_of(path)


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
