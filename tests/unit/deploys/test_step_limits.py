"""Steps that take long by their nature say so: what says nothing is ended after fifteen minutes, as if it hung."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

OPERATIONS = Path(__file__).parents[3] / "deploys/operations"
# Whoever hands these to `must` or `run`, or puts further words to them, says it there.
SAID_ELSEWHERE = {"builds.py", "handing_on.py"}


def commands(path: Path) -> Iterator[ast.Call]:
    """The commands that run one of our programs on the box: they install, fetch, convert, or wait for what serves."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "StringCommand":
            text = ast.unparse(node)
            if any(word in text for word in ("PROGRAM", "_CONVERTER", "RUNNER", "SWITCH", "SERVE_UNIT", "_PULLER")):
                yield node


FOUND = [
    (path.name, call)
    for path in sorted(OPERATIONS.glob("*.py"))
    if path.name not in SAID_ELSEWHERE
    for call in commands(path)
]


def test_they_are_found() -> None:
    assert {"engines.py", "gguf.py", "install.py", "ollama.py", "python.py"} <= {name for name, _ in FOUND}


@pytest.mark.parametrize(("name", "call"), FOUND, ids=[f"{name}:{call.lineno}" for name, call in FOUND])
def test_each_says_how_long_it_may_take(name: str, call: ast.Call) -> None:
    del name
    assert "_timeout" in {keyword.arg for keyword in call.keywords}, ast.unparse(call)
