from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boxwright.errors import BadInputError, LabError

Record = Callable[..., Any]


def _disk_full() -> LabError:
    error = LabError(
        "The root filesystem [bold]could not[/bold] be made.",
        where="lab-1 / root filesystem",
        hint="Free 2 GB, then run ./invoke lab.up again.",
        output="".join(f"\x1b[31mstep {i}\x1b[0m [red]x[/red]\n" for i in range(43)),
    )
    error.__cause__ = OSError(28, "No space left on device")
    return error


def test_without_a_terminal_an_error_is_plain_lines_on_standard_error(record: Record) -> None:
    seen = record()
    seen.console.error(_disk_full())
    assert seen.out == ""
    assert seen.err.splitlines() == [
        "error: The root filesystem [bold]could not[/bold] be made.",
        "  where: lab-1 / root filesystem",
        "  why: OSError: [Errno 28] No space left on device",
        "  output, its last 10 of 43 lines:",
        *(f"    step {i} [red]x[/red]" for i in range(33, 43)),
        "  next: Free 2 GB, then run ./invoke lab.up again.",
    ]


@pytest.mark.parametrize("width", [80, 140])
def test_on_a_terminal_an_error_tells_the_same(record: Record, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    seen = record(terminal=True, width=width)
    seen.console.error(_disk_full())
    for words in (
        "[bold]could not[/bold]",
        "No space left",
        "last 10 of 43",
        "step 42 [red]x[/red]",
        "Free 2 GB",
    ):
        assert words in seen.err
    assert "step 32" not in seen.err
    assert max(map(len, seen.err.splitlines())) <= width + len("\x1b[1m\x1b[0m") * 3


def test_a_cause_that_the_message_tells_is_not_told_twice(record: Record) -> None:
    seen = record()
    error = LabError("No bridge: permission denied")
    error.__cause__ = OSError("permission denied")
    seen.console.error(error)
    assert seen.err == "error: No bridge: permission denied\n"


def test_in_json_everything_is_an_object_on_standard_output(record: Record) -> None:
    seen = record(json=True)
    seen.console.info("a")
    seen.console.warning("b\x1b[31m")
    seen.console.table("Profiles", ["Profile", "GPU memory"], [["lab", "none"]], kind="profile")
    seen.console.data("fact", {"value": 1})
    seen.console.line("for people only")
    seen.console.error(_disk_full())
    assert seen.err == ""
    assert [each["type"] for each in seen.objects] == ["message", "message", "profile", "fact", "error"]
    assert seen.objects[2] == {"type": "profile", "profile": "lab", "gpu_memory": "none"}
    assert seen.objects[4]["exit_code"] == 1
    assert seen.objects[4]["where"] == "lab-1 / root filesystem"
    assert len(seen.objects[4]["output"]) == 10


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_every_text_survives_json_and_breaks_no_line(record: Record, text: str) -> None:
    seen = record(json=True)
    seen.console.data("fact", {"text": text})
    assert seen.out.count("\n") == 1
    assert seen.objects == [{"type": "fact", "text": text}]


def test_a_payload_cannot_hide_its_kind(record: Record) -> None:
    with pytest.raises(ValueError, match="cannot have that key"):
        record(json=True).console.table("", ["Type"], [["x"]], kind="row")


def test_data_is_for_programs_only(record: Record) -> None:
    seen = record()
    seen.console.data("fact", {"value": 1})
    assert seen.out == ""


@pytest.mark.parametrize("terminal", [False, True])
def test_markup_and_escapes_in_data_are_literal_or_gone(record: Record, terminal: bool) -> None:
    seen = record(terminal=terminal, width=100)
    evil = "[bold]b[/bold] :warning: [link=http://x]l[/] \x1b]0;title\x07\x1b[2J"
    seen.console.info(evil)
    seen.console.table("T", ["C"], [[evil]], kind="row")
    assert seen.out.count("[bold]b[/bold] :warning: [link=http://x]l[/]") == 2
    assert "title" not in seen.out
    assert "\x1b[2J" not in seen.out


def test_plain_lines_are_never_broken(record: Record) -> None:
    seen = record()
    sentence = "word " * 400
    seen.console.info(sentence)
    seen.console.table("T", ["A", "B"], [["x", sentence]], kind="row")
    assert [len(line) for line in seen.out.splitlines() if "word" in line] == [2000, 2004]


def test_no_color_leaves_no_colours_and_a_terminal_has_them(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = record(terminal=True)
    coloured.console.success("done")
    assert "\x1b[32m" in coloured.out
    monkeypatch.setenv("NO_COLOR", "1")
    plain = record(terminal=True)
    plain.console.success("done")
    assert plain.out == "✓ done\n"


def test_a_dumb_terminal_gets_plain_lines(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert not record(terminal=True).console.live


@pytest.mark.parametrize(
    ("typed", "answer"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_only_yes_is_yes(record: Record, typed: str, answer: bool) -> None:
    assert record(terminal=True, typed=typed).console.confirm("Apply [this]?") is answer


@pytest.mark.parametrize("how", [{"terminal": False}, {"terminal": True, "json": True}])
def test_nobody_is_asked_where_nobody_is(record: Record, how: dict[str, bool]) -> None:
    seen = record(typed="y\n", **how)
    with pytest.raises(BadInputError, match="needs a person or --yes"):
        seen.console.confirm("Apply this?")
    assert seen.out == ""


def test_an_encoding_that_lacks_the_characters_is_no_failure() -> None:
    code = (
        "from boxwright.console import Console\n"
        "c = Console(); c.success('团队 \\udc80'); c.table('T', ['A'], [['…']], kind='x')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("+ \\u56e2\\u961f \\udc80")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_run_outlives_its_reader(as_json: bool) -> None:
    code = (
        "import sys\nfrom boxwright.console import Console\n"
        f"c = Console(json={as_json})\n"
        "for i in range(20000): c.info('line')\n"
        "sys.stderr.write('reached the end')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == "reached the end"
    assert running.returncode == 0


def test_json_numbers_and_paths_are_written(record: Record) -> None:
    seen = record(json=True)
    seen.console.data("fact", {"log": Path("/var/log/run"), "seconds": 1.5})
    assert seen.objects == [{"type": "fact", "log": "/var/log/run", "seconds": 1.5}]
