"""Compute a small layer of experts by one of KTransformers' methods on this processor, and hold it against torch.

Usage: PYTHON trial.py METHOD

The weights are random and made as the method reads them, those of AMX by `convert.py`; they are loaded and computed by
the interface that the server uses. Prints one line of JSON: the relative error, what is let pass, and the kernels that
were taken. Where the processor does not have what /proc/cpuinfo says, as on a twin, it says so and takes slower
kernels. An instruction that the processor lacks ends this process by a signal.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from convert import PROJECTIONS, Shape, convert, hushed
from safetensors.torch import save_file

SHAPE = Shape(layers=1, experts=8, active=2, hidden=512, inner=512)
TOKENS = 5
# Of random weights: what rounding to the method's bits costs by itself comes to about half of this.
LET_PASS = {"AMXINT4": 0.45, "AMXINT8": 0.06, "FP8": 0.02, "BF16": 0.02, "LLAMAFILE": 0.04}
_BLOCK = 128
Weights = dict[str, torch.Tensor]  # by projection: experts, rows, columns


def random_weights() -> Weights:
    """Weights that keep the size of what passes them."""
    wide, back = (SHAPE.inner, SHAPE.hidden), (SHAPE.hidden, SHAPE.inner)
    sizes = {"gate": wide, "up": wide, "down": back}
    made = {name: torch.randn(SHAPE.experts, *size) * size[1] ** -0.5 for name, size in sizes.items()}
    return {name: weight.bfloat16() for name, weight in made.items()}


def written_config(folder: Path) -> None:
    """Write what a model says of its shape."""
    config = {
        "num_hidden_layers": SHAPE.layers,
        "n_routed_experts": SHAPE.experts,
        "num_experts_per_tok": SHAPE.active,
        "hidden_size": SHAPE.hidden,
        "moe_intermediate_size": SHAPE.inner,
    }
    (folder / "config.json").write_text(json.dumps(config))


def written_bf16(folder: Path, weights: Weights) -> Weights:
    """Write weights as they are published in BF16; return what they say."""
    save_file(
        {
            _name(expert, name): weights[name][expert].contiguous()
            for name in PROJECTIONS
            for expert in range(SHAPE.experts)
        },
        folder / "model.safetensors",
    )
    written_config(folder)
    return weights


def written_fp8(folder: Path, weights: Weights) -> Weights:
    """Write weights as DeepSeek publishes them: E4M3 with a scale for each block; return what they say."""
    tensors, said = {}, {}
    for name, weight in weights.items():
        experts, rows, columns = weight.shape
        blocks = weight.float().view(experts, rows // _BLOCK, _BLOCK, columns // _BLOCK, _BLOCK)
        scale = blocks.abs().amax((2, 4)) / torch.finfo(torch.float8_e4m3fn).max
        small = (blocks / scale[:, :, None, :, None]).to(torch.float8_e4m3fn)
        said[name] = (small.float() * scale[:, :, None, :, None]).view_as(weight)
        for expert in range(experts):
            tensors[_name(expert, name)] = small[expert].view(rows, columns).contiguous()
            tensors[f"{_name(expert, name)}_scale_inv"] = scale[expert].contiguous()
    save_file(tensors, folder / "model.safetensors")
    return said


def written_gguf(folder: Path, weights: Weights) -> Weights:
    """Write weights as a GGUF in Q8_0; return what they say."""
    import gguf  # noqa: PLC0415  only this method needs it

    kind = gguf.GGMLQuantizationType.Q8_0
    writer, said = gguf.GGUFWriter(folder / "model.gguf", "deepseek2"), {}
    for name, weight in weights.items():
        data = gguf.quants.quantize(weight.float().numpy(), kind)
        said[name] = torch.from_numpy(gguf.quants.dequantize(data, kind))
        writer.add_tensor(f"blk.0.ffn_{name}_exps.weight", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return said


def _name(expert: int, projection: str) -> str:
    return f"model.layers.0.mlp.experts.{expert}.{projection}_proj.weight"


WRITERS: dict[str, Callable[[Path, Weights], Weights]] = {
    "AMXINT4": written_bf16,
    "AMXINT8": written_bf16,
    "BF16": written_bf16,
    "FP8": written_fp8,
    "LLAMAFILE": written_gguf,
}


def expected(weights: Weights, tokens: torch.Tensor, chosen: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """What torch makes of it."""
    answers = torch.zeros(tokens.shape)
    for row in range(len(tokens)):
        token = tokens[row].float()
        for expert, share in zip(chosen[row].tolist(), shares[row].tolist(), strict=True):
            gate, up, down = (weights[name][expert].float() for name in PROJECTIONS)
            answers[row] += share * (down @ (torch.nn.functional.silu(gate @ token) * (up @ token)))
    return answers


def honest() -> str:
    """Take no kernels that this processor lacks, whatever /proc/cpuinfo shows; tell what it shows too much.

    Kernels that somebody asked for by name are taken as they are: the server will take them, too.
    """
    if "KT_KERNEL_CPU_VARIANT" in os.environ:
        return ""
    shown = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    flags = next((line.split(":")[1].split() for line in shown.splitlines() if line.startswith("flags")), [])
    if "amx_tile" not in flags or torch.cpu._is_amx_tile_supported():  # it asks the processor itself
        return ""
    has_bf16 = torch.cpu._is_avx512_bf16_supported()
    has_avx512 = torch.cpu._is_avx512_supported()
    os.environ["KT_KERNEL_CPU_VARIANT"] = "avx512_bf16" if has_bf16 else "avx512_base" if has_avx512 else "avx2"
    return "AMX is shown and not there"


def without_cards() -> None:
    """Leave cards alone, and let kt-kernel, which wants memory that they can reach, take any."""
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "KT_FORCE_SYNC_SUBMIT": "1"}
    for name in ("empty", "full", "zeros"):
        setattr(torch, name, _anywhere(getattr(torch, name)))


def _anywhere(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def made(*size: Any, pin_memory: bool = False, **options: Any) -> torch.Tensor:  # noqa: ARG001
        return make(*size, **options)

    return made


def tried(method: str, folder: Path) -> float:
    """The relative error of a layer by this method."""
    from kt_kernel import KTMoEWrapper  # noqa: PLC0415  loads the extension for this processor

    torch.manual_seed(7)
    weights = WRITERS[method](folder, random_weights())
    place = folder
    if method.startswith("AMX"):
        place = folder / "converted"
        convert(folder, place, method, pools=1, threads=2)
    layer = KTMoEWrapper(
        layer_idx=0,
        num_experts=SHAPE.experts,
        num_experts_per_tok=SHAPE.active,
        hidden_size=SHAPE.hidden,
        moe_intermediate_size=SHAPE.inner,
        gpu_experts_mask=None,
        cpuinfer_threads=2,
        threadpool_count=1,
        weight_path=str(place),
        chunked_prefill_size=64,
        method=method,
    )
    layer.load_weights(torch.arange(SHAPE.experts, dtype=torch.int64))
    tokens = torch.randn(TOKENS, SHAPE.hidden).bfloat16()
    chosen = torch.stack([torch.randperm(SHAPE.experts)[: SHAPE.active] for _ in range(TOKENS)])
    shares = torch.rand(TOKENS, SHAPE.active)
    answers = layer.forward(tokens, chosen, shares, 0).float()
    right = expected(weights, tokens, chosen, shares)
    return float((answers - right).norm() / right.norm())


def main(method: str) -> None:
    """Try one method, and tell."""
    told, shown_too_much = hushed(), honest()
    without_cards()
    import kt_kernel  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        error = tried(method, Path(folder))
    answer = {
        "method": method,
        "kernels": kt_kernel.__cpu_variant__,
        "error": round(error, 4),
        "let_pass": LET_PASS[method],
        "note": shown_too_much,
    }
    print(json.dumps(answer), file=told)


if __name__ == "__main__":
    main(sys.argv[1])
