"""Which kinds of quantized weights and caches vLLM takes on cards that are not NVIDIA's.

What AMD's cards take is in the table of vLLM, read from each of its wheels. What Huawei's take was read in those of
the plug-in.
"""

from __future__ import annotations

from collections.abc import Mapping

from boxwright.model.accelerators import Accelerator
from boxwright.model.engine_settings import EngineTable
from boxwright.model.setting import Value
from boxwright.model.stack import EngineName

Found = tuple[str, str]  # what is wrong, and what to do instead

# `supported_quantization` in vLLM Ascend's platform.py, the same in 0.23.0 and in 0.26.0rc1, without its two kinds of
# FP8. Those are for the A5: "for FP8 you will need the A5, for A2/A3 it's a no go" (vllm-ascend, issue 1526).
ASCEND_KINDS = ("ascend", "compressed-tensors")
_ASCEND_REMEDY = "Take weights in bfloat16, or in INT8 (W8A8, which vLLM Ascend knows by the files that come with them)"


def check_vendor_kinds(
    engine: EngineName, version: str, card: Accelerator, settings: Mapping[str, Value], *, kind: str, table: EngineTable
) -> Found | None:
    """Hold weights and cache against what the engine takes on a card.

    Args:
        engine: Anything but `vllm_rocm` and `vllm_ascend` is not this function's to judge.
        version: Of the engine.
        card: What it computes on.
        settings: The profile's, by vLLM's own spelling.
        kind: Of the weights, as `--quantization` names it; empty: they are in 16 bits, or of a kind that is not known.
        table: Of vLLM.

    Returns:
        What is wrong, and what to do instead; None where nothing is known to be.
    """
    if engine == "vllm_rocm" and kind and not table.runs_on_amd(kind, version):
        others = [one for one in ("fp8", "awq", "gptq") if table.runs_on_amd(one, version)]
        return (
            f"vllm_rocm {version} takes no weights in {kind} on {card.name}",
            f"Take weights in {' or '.join([*others, 'float16'])}.",
        )
    if engine != "vllm_ascend":
        return None
    cache = str(settings.get("--kv-cache-dtype", ""))
    if cache.startswith("fp8"):
        return (
            f"{card.name} does not compute in FP8, and a cache in {cache} would need that",
            "Leave engine_settings.kv-cache-dtype out.",
        )
    if kind and kind not in ASCEND_KINDS:
        why = "does not compute in FP8" if "fp8" in kind else f"takes no weights in {kind} by vllm_ascend"
        return f"{card.name} {why}", f"{_ASCEND_REMEDY}, and leave engine_settings.quantization out."
    return None
