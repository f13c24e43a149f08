"""Make of a published mixture-of-experts model the weights that KTransformers' AMX methods read.

Usage: PYTHON convert.py SOURCE DESTINATION METHOD POOLS THREADS

SOURCE is a folder of safetensors in FP8 (blocks of 128 by 128), BF16 or FP16 with its config.json. METHOD is AMXINT4
or AMXINT8, POOLS the number of NUMA nodes that serve, THREADS the cores that work. kt-kernel's wheels bring the kernels
for this and no program: its own is a script of its source code.

DESTINATION gets one file of safetensors for each layer, and a manifest.json that names them all with their digests when
the last one is there. A run that was cut off goes on where it was. Each step is told as a line `progress: …`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from safetensors import safe_open
from safetensors.torch import save_file

MANIFEST = "manifest.json"
BITS = {"AMXINT4": 4, "AMXINT8": 8}
PROJECTIONS = ("gate", "up", "down")
_BLOCK = 128  # of weights that share a scale, in both directions
_SPARE = 1.05  # scales, and headers of files


class ConversionError(Exception):
    """The weights cannot be made; the message says why."""


@dataclass(frozen=True)
class Shape:
    """What a config.json says of the experts."""

    layers: int
    experts: int
    active: int
    hidden: int
    inner: int

    @classmethod
    def read(cls, folder: Path) -> Shape:
        """Read it, by the names of DeepSeek or of Qwen."""
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        experts = config.get("n_routed_experts") or config.get("num_experts")
        if not experts:
            raise ConversionError(f"{folder}/config.json names no experts")
        return cls(
            config["num_hidden_layers"],
            experts,
            config["num_experts_per_tok"],
            config["hidden_size"],
            config["moe_intermediate_size"],
        )


class Published:
    """The tensors of a folder of safetensors, by their names."""

    def __init__(self, folder: Path) -> None:
        self._places: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            opened = safe_open(path, framework="pt")
            self._places |= dict.fromkeys(opened.keys(), opened)
        if not self._places:
            raise ConversionError(f"{folder} has no safetensors")

    def name(self, layer: int, expert: int, projection: str) -> str:
        """The name of an expert's weights."""
        return f"model.layers.{layer}.mlp.experts.{expert}.{projection}_proj.weight"

    def has_experts(self, layer: int) -> bool:
        """Whether a layer is a mixture of experts."""
        return self.name(layer, 0, "gate") in self._places

    def experts(self, layer: int, count: int, projection: str) -> torch.Tensor:
        """The weights of all experts of a layer in BF16: experts, rows, columns."""
        return torch.stack([self._expert(self.name(layer, expert, projection)) for expert in range(count)])

    def _expert(self, name: str) -> torch.Tensor:
        if name not in self._places:
            raise ConversionError(f"{name} is in no file: is the model whole?")
        weight = self._places[name].get_tensor(name)
        if weight.dtype in (torch.bfloat16, torch.float16):
            return weight.to(torch.bfloat16)
        if weight.dtype is not torch.float8_e4m3fn or f"{name}_scale_inv" not in self._places:
            raise ConversionError(f"{name} is {weight.dtype} without scales of blocks, which nothing here reads")
        scale = self._places[f"{name}_scale_inv"].get_tensor(f"{name}_scale_inv").float()
        rows, columns = weight.shape
        wide = scale.repeat_interleave(_BLOCK, 0)[:rows].repeat_interleave(_BLOCK, 1)[:, :columns]
        return (weight.float() * wide).to(torch.bfloat16)


def hushed() -> TextIO:
    """Keep what the kernels print out of the output until this process ends. What there is to say goes to it."""
    sys.stdout.flush()
    told = os.fdopen(os.dup(1), "w", buffering=1)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    return told


def pool(pools: int, threads: int) -> Any:
    """Threads of kt-kernel, spread over as many pools as will serve; a machine with fewer NUMA nodes lends its own."""
    from kt_kernel import kt_kernel_ext  # noqa: PLC0415  loads the extension for this processor

    nodes = len(list(Path("/sys/devices/system/node").glob("node[0-9]*"))) or 1
    config = kt_kernel_ext.WorkerPoolConfig()
    config.subpool_count = pools
    config.subpool_numa_map = [number % nodes for number in range(pools)]
    config.subpool_thread_count = [max(1, threads // pools)] * pools
    return kt_kernel_ext.CPUInfer(config)


@dataclass(frozen=True)
class Job:
    """What is made of what."""

    shape: Shape
    method: str
    pools: int
    destination: Path

    @property
    def work(self) -> Path:
        """Where kt-kernel writes a layer."""
        return self.destination / ".work"

    def file(self, layer: int) -> Path:
        """Where a layer lies at last."""
        return self.destination / f"layer-{layer:05}.safetensors"


def quantize(job: Job, layer: int, weights: dict[str, torch.Tensor], infer: Any) -> None:
    """Let kt-kernel write a layer's experts, as the method lays them out."""
    from kt_kernel.kt_kernel_ext import moe  # noqa: PLC0415

    shape = job.shape
    on_cards = torch.zeros(shape.experts, dtype=torch.bool)
    places = torch.arange(shape.experts, dtype=torch.int64)
    config = moe.MOEConfig(shape.experts, shape.active, shape.hidden, shape.inner, on_cards.data_ptr())
    config.layer_idx = layer
    config.pool = infer.backend_
    config.max_len = 64  # tokens: buffers that no token passes, in the steps that kernels work in
    config.save, config.load = True, False
    config.path = str(job.work)
    config.gate_proj, config.up_proj, config.down_proj = (weights[name].data_ptr() for name in PROJECTIONS)
    made = (moe.AMXInt4_MOE if job.method == "AMXINT4" else moe.AMXInt8_MOE)(config)
    infer.submit(made.load_weights_task(places.data_ptr()))
    infer.sync()


_WRITTEN = re.compile(r"INT[48]_(gate|up|down)_([0-9]+)_[0-9]+Byte_(quant|scale)_\.kt")


def gathered(job: Job, layer: int) -> dict[str, torch.Tensor]:
    """What kt-kernel wrote of a layer, by the names under which it reads it from safetensors."""
    tensors = {}
    for number in range(job.pools):
        for path in (job.work / f"_layer_{layer}" / f"_numa_{number}").iterdir():
            found = _WRITTEN.fullmatch(path.name)
            if found is None:
                raise ConversionError(f"kt-kernel wrote a file that is not known: {path}")
            projection, expert, kind = found.groups()
            dtype, name = (torch.uint8, "weight") if kind == "quant" else (torch.float32, "scale")
            data = torch.frombuffer(bytearray(path.read_bytes()), dtype=dtype)
            tensors[f"blk.{layer}.ffn_{projection}_exps.{expert}.numa.{number}.{name}"] = data
    wanted = job.pools * len(PROJECTIONS) * job.shape.experts * 2
    if len(tensors) != wanted:
        raise ConversionError(f"kt-kernel wrote {len(tensors)} files of layer {layer} and not {wanted}")
    return tensors


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def convert(source: Path, destination: Path, method: str, pools: int, threads: int) -> None:
    """Make every layer that is not there yet, and the manifest at last.

    Raises:
        ConversionError: SOURCE is not what can be converted, or the disk is too small.
    """
    if method not in BITS:
        raise ConversionError(f"{method} reads the model's own files: nothing is to be converted for it")
    job, published = Job(Shape.read(source), method, pools, destination), Published(source)
    layers = [layer for layer in range(job.shape.layers) if published.has_experts(layer)]
    destination.mkdir(mode=0o755, parents=True, exist_ok=True)
    begun = {"method": method, "pools": pools, "source": str(source), "config_sha256": digest(source / "config.json")}
    _begin(destination, begun)
    missing = [layer for layer in layers if not job.file(layer).exists()]
    _check_space(job, len(missing))
    told, infer = hushed(), pool(pools, threads)
    for layer in missing:
        print(f"progress: layer {layer} of {layers[-1]}", file=told)
        _layer(job, layer, published, infer)
    print("progress: reading the files back", file=told)
    files = [{"name": path.name, **_record(path)} for path in map(job.file, layers)]
    draft = destination / f".{MANIFEST}.new"
    draft.write_text(json.dumps(begun | {"files": files}, indent=1) + "\n")
    draft.replace(destination / MANIFEST)


def _layer(job: Job, layer: int, published: Published, infer: Any) -> None:
    shutil.rmtree(job.work, ignore_errors=True)
    job.work.mkdir()
    weights = {name: published.experts(layer, job.shape.experts, name).contiguous() for name in PROJECTIONS}
    quantize(job, layer, weights, infer)
    draft = job.destination / f".{job.file(layer).name}.new"
    save_file(gathered(job, layer), draft)
    draft.chmod(0o644)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(job.file(layer))
    shutil.rmtree(job.work)


def _begin(destination: Path, begun: dict[str, Any]) -> None:
    """Go on with what an earlier run left only if it was made of the same, for the same."""
    note, text = destination / ".begun", json.dumps(begun) + "\n"
    if not note.exists() or note.read_text() != text:  # also where a power cut emptied it
        for path in destination.glob("layer-*.safetensors"):
            path.unlink()
        (destination / MANIFEST).unlink(missing_ok=True)
        with note.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def _record(path: Path) -> dict[str, Any]:
    """Size and digest of a file, with a note beside it of when it was read: who trusts that need not read it again."""
    found, state = digest(path), path.stat()
    (path.parent / f".{path.name}.verified").write_text(f"{state.st_size} {state.st_mtime_ns} {found}\n")
    return {"bytes": state.st_size, "sha256": found}


def _check_space(job: Job, layers: int) -> None:
    weights = job.shape.experts * len(PROJECTIONS) * job.shape.hidden * job.shape.inner
    needed = int(weights * BITS[job.method] / 8 * _SPARE) * (layers + 1 if layers else 0)
    free = shutil.disk_usage(job.destination).free
    if free < needed:
        raise ConversionError(f"{job.destination} has {free / 1e9:.1f} GB free, and {needed / 1e9:.1f} are needed")


def main(arguments: list[str]) -> int:
    """Convert what the arguments name."""
    os.umask(0o022)
    source, destination, method, pools, threads = arguments
    try:
        convert(Path(source), Path(destination), method, int(pools), int(threads))
    except (ConversionError, OSError, RuntimeError) as error:
        print(f"convert: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
