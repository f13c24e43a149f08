"""Finds the environment variables that a package reads, and what it makes of them, in its source."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_OF_THE_SYSTEM = {"HOME", "LD_LIBRARY_PATH", "PATH", "SHELL", "TZ", "USER"}
_MOST_SPACES = 3  # more is a sentence of a page, and no setting of a box
_DECLARED_TYPES = {
    "EnvBool": "boolean",
    "EnvFloat": "number",
    "EnvInt": "integer",
    "EnvStr": "text",
    "EnvTuple": "text",
}


def vllm(folder: Path) -> list[dict[str, Any]]:
    """Those that vLLM lists: it warns of any other that begins with VLLM_."""
    tree = _tree(folder / "vllm" / "envs.py")
    hints = dict(_annotations(tree))
    rows = []
    for key, value in _items(tree, "environment_variables"):
        row = _read_in(value, key) or {"name": key, "type": "text"}
        if row["type"] == "text" and hints.get(key) in ("integer", "number"):
            row["type"] = hints[key]
        rows.append(row)
    return rows


def sglang(folder: Path) -> list[dict[str, Any]]:
    """Those that SGLang declares, and the others of its own that it reads."""
    declared = list(_declared(_tree(folder / "sglang" / "srt" / "environ.py")))
    return _merged([*declared, *_own(folder / "sglang" / "srt", ("SGLANG_", "SGL_", "KT_"))])


def kt_kernel(folder: Path) -> list[dict[str, Any]]:
    """KTransformers' own."""
    return _merged(_own(folder / "kt_kernel", ("KT_",)))


def open_webui(folder: Path) -> list[dict[str, Any]]:
    """All that Open WebUI reads."""
    return _merged(_own(folder / "open_webui", ("",)))


def words(path: Path, name: str) -> list[str]:
    """The words in what a module assigns to a name: the members of a Literal or of a set.

    Raises:
        ValueError: The module assigns nothing to it.
    """
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            constants = (item.value for item in ast.walk(node.value) if isinstance(item, ast.Constant))
            return sorted(word for word in constants if isinstance(word, str))
    raise ValueError(f"{path} has no {name} any more")


def _own(folder: Path, prefixes: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.rglob("*.py")):
        for row in _all_read(_tree(path)):
            name = row["name"]
            if name.startswith(prefixes) and name.isupper() and name not in _OF_THE_SYSTEM:
                yield row


def _merged(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a name: the one that says most of its type, with the first default."""
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        known = best.setdefault(row["name"], row)
        if known["type"] == "text" and row["type"] != "text":
            best[row["name"]] = row
        elif "default" not in known and row["type"] == known["type"]:
            best[row["name"]] = {**row, **known}
    return list(best.values())


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=str(path))


def _items(tree: ast.Module, table: str) -> Iterator[tuple[str, ast.expr]]:
    """Keys and values of a dictionary that stands at the top of a module."""
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Dict):
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        if isinstance(target, ast.Name) and target.id == table:
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value, value


def _annotations(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            words = {name.id for name in ast.walk(node.annotation) if isinstance(name, ast.Name)}
            kinds = {"int": "integer", "float": "number"}
            found = [kinds[word] for word in words if word in kinds]
            if len(found) == 1 and "str" not in words and "bool" not in words and "list" not in words:
                yield node.target.id, found[0]


def _declared(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Class attributes of the form NAME = EnvInt(20)."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            continue
        target, maker = node.targets[0], node.value.func
        if isinstance(target, ast.Name) and isinstance(maker, ast.Name) and maker.id in _DECLARED_TYPES:
            row = {"name": target.id, "type": _DECLARED_TYPES[maker.id]}
            yield _with_default(row, node.value.args[0] if node.value.args else None)


def _all_read(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Every variable that is read by a literal name, with its type as the expression around it tells."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        name, default = _name_read(node)
        if name:
            yield _with_default({"name": name, **_type_around(node, parents)}, default)


def _read_in(value: ast.expr, key: str) -> dict[str, Any] | None:
    chosen = next(
        (node for node in ast.walk(value) if isinstance(node, ast.Call) and _called(node) == "env_with_choices"), None
    )
    if chosen and len(chosen.args) > 2 and isinstance(chosen.args[2], ast.List):
        choices = [str(item.value) for item in chosen.args[2].elts if isinstance(item, ast.Constant)]
        return _with_default({"name": key, "type": "choice", "choices": choices}, chosen.args[1])
    rows = [row for row in _all_read(ast.Module(body=[ast.Expr(value)], type_ignores=[])) if row["name"] == key]
    return _merged(rows)[0] if rows else None


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _name_read(node: ast.AST) -> tuple[str | None, ast.expr | None]:
    """The name in os.getenv("NAME", default), os.environ.get("NAME", default) or os.environ["NAME"]."""
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        text = ast.unparse(node.func)
        if text.endswith(("os.getenv", "environ.get")) or text == "getenv":
            return str(node.args[0].value), node.args[1] if len(node.args) > 1 else None
    if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("os.environ"):
        key = node.slice
        if isinstance(key, ast.Constant) and isinstance(node.ctx, ast.Load):
            return str(key.value), None
    return None, None


def _type_around(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> dict[str, Any]:
    inner: str | None = None
    while (parent := parents.get(node)) is not None and not isinstance(parent, ast.stmt | ast.Lambda | ast.Dict):
        if isinstance(parent, ast.Call) and node in parent.args:
            made = {"int": "integer", "float": "number", "bool": "boolean", "maybe_convert_int": "integer"}
            called = _called(parent)
            if called == "maybe_convert_bool" or (called == "bool" and inner == "integer"):
                return {"type": "boolean"}
            if called == "loads":
                return {"type": "json"}
            inner = made.get(called, inner)
        if isinstance(parent, ast.Compare) and parent.left is node:
            words = [item.value for item in ast.walk(parent) if isinstance(item, ast.Constant)]
            if "1" in words:
                return {"type": "boolean"}
            if {"true", "True"} & set(words):
                return {"type": "boolean", "truth": ["true", "false"]}
        if isinstance(parent, ast.Subscript | ast.BinOp):
            break
        node = parent
    return {"type": inner if inner in ("integer", "number") else "text"}


def _with_default(row: dict[str, Any], default: ast.expr | None) -> dict[str, Any]:
    text = str(default.value) if isinstance(default, ast.Constant) and default.value is not None else ""
    if text and text.count(" ") <= _MOST_SPACES:
        row["default"] = {"1": "true", "0": "false"}.get(text, text.lower()) if row["type"] == "boolean" else text
    return row
