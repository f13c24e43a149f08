"""Finds which cards vLLM's kinds of quantized weights need, in its source."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from tools.engine_settings import variables


def vllm(folder: Path) -> list[dict[str, Any]]:
    """The least compute capability of each kind, as its class tells; a kind whose class tells none is left out."""
    package = folder / "vllm" / "model_executor" / "layers" / "quantization"
    classes = {
        node.name: node
        for path in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_bytes(), filename=str(path)))
        if isinstance(node, ast.ClassDef)
    }
    kinds = _classes_of_kinds(ast.parse((package / "__init__.py").read_bytes()))
    if "online" in kinds:  # vLLM quantizes by itself when it loads: shorthands for it have no class of their own
        words = variables.words(package / "__init__.py", "QuantizationMethods")
        kinds = dict.fromkeys(words, kinds["online"]) | kinds
    rows = []
    for kind, name in kinds.items():
        least = _least(name, classes)
        if least is not None and least > 0:
            rows.append({"name": kind, "least": f"{least // 10}.{least % 10}"})
    return rows


def vllm_on_amd(folder: Path) -> list[dict[str, Any]]:
    """The kinds that vLLM takes on AMD's cards: it refuses any other as it starts."""
    path = folder / "vllm" / "platforms" / "rocm.py"
    kinds: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes(), filename=str(path))):  # some are added for a part of the cards
        if isinstance(node, ast.AnnAssign | ast.AugAssign) and ast.unparse(node.target) == "supported_quantization":
            kinds |= set(ast.literal_eval(node.value)) if node.value else set()
    if not kinds:
        raise ValueError(f"{path} has no supported_quantization any more")
    return [{"name": kind} for kind in sorted(kinds)]


def _classes_of_kinds(tree: ast.Module) -> dict[str, str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Dict):
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        if isinstance(target, ast.Name) and target.id == "method_to_config":
            pairs = zip(node.value.keys, node.value.values, strict=True)
            return {ast.literal_eval(key): ast.unparse(named) for key, named in pairs if key is not None}
    raise ValueError("vLLM's kinds of quantized weights are no longer in method_to_config")


def _least(name: str, classes: dict[str, ast.ClassDef]) -> int | None:
    """What `get_min_capability` of a class returns at least; of a class without it, that of its base."""
    node = classes.get(name)
    if node is None:
        return None
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "get_min_capability":
            returned = [one.value for one in ast.walk(item) if isinstance(one, ast.Return)]
            numbers = [one.value for one in returned if isinstance(one, ast.Constant) and isinstance(one.value, int)]
            return min(numbers, default=None)
    bases = (_least(ast.unparse(base), classes) for base in node.bases)
    return next((least for least in bases if least is not None), None)
