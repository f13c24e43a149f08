"""A command line that cannot be read: exit code 4, and the words that would have been right."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from verb_command import boxwright

from boxwright.errors import Exit

TASKS_OF_A_STRANGER = "from invoke import task\n@task\ndef plan(context):\n    print('a stranger')\n"


@pytest.mark.parametrize(
    ("line", "message", "remedy"),
    [
        ("plna --profile lab", "there is no verb 'plna'. Did you mean 'plan'?", "--list"),
        ("lab.upp", "there is no verb 'lab.upp'. Did you mean 'lab.up'?", "--list"),
        ("--help plna", "there is no verb 'plna'. Did you mean 'plan'?", "--list"),
        ("plan --profil lab", "plan has no option '--profil'. Did you mean '--profile'?", "plan --help"),
        ("plan --profile lab --jsn", "plan has no option '--jsn'. Did you mean '--json'?", "plan --help"),
        ("--no-such", "./invoke has no option '--no-such'.", "--list"),
        ("plan lab", "'lab' after plan is neither an option of it nor another verb.", "plan --help"),
        ("plan --profile", "--profile needs a value: the kind of box", "plan --help"),
        ("plan --profile --site s", "--profile needs a value: the kind of box", "plan --help"),
        ("plan", "plan needs --profile: the kind of box: a name from `./invoke profiles`", "plan --help"),
        ("report", "report.write needs --profile: the kind of box", "report.write --help"),
        ("evidence", "evidence.write needs --profile: the kind of box", "evidence.write --help"),
        ("evidence.check", "evidence.check needs a statement: provenance.intoto.jsonl", "evidence.check provenance"),
        ("provision --yes", "provision needs --profile: the kind of box", "provision --help"),
        ("verify", "verify needs --profile: the kind of box", "verify --help"),
        ("docs", "docs needs a topic: profile or site", "./invoke docs profile"),
        ("docs sites", "no example of 'sites'. Did you mean 'site'?", "There are: profile, site."),
        ("plan --profile lab --count many", "--count takes a number, and 'many' is none", ""),
        ("plan --profile lab --count=many", "--count takes a number, and 'many' is none", ""),
        ("--list nothing", "'nothing'", ""),
    ],
)
def test_what_is_wrong_and_what_to_type_instead(line: str, message: str, remedy: str) -> None:
    ran = boxwright(*line.split())
    assert ran.code == Exit.BAD_INPUT, ran.told
    assert ran.told.startswith("error: ")
    assert message in ran.told
    assert remedy in ran.told
    assert ran.out == ""


@pytest.mark.parametrize("line", ["plna --json", "plan --profil lab --json", "plan --json", "docs --json"])
def test_a_program_is_told_as_json(line: str) -> None:
    ran = boxwright(*line.split())
    (error,) = ran.kind("error")
    assert ran.code == error["exit_code"] == Exit.BAD_INPUT
    assert ran.err == ""


@pytest.mark.parametrize("line", ["docs --help", "docs -h", "--help docs"])
def test_help_for_a_verb_that_waits_for_its_topic(line: str) -> None:
    ran = boxwright(*line.split())
    assert ran.code == Exit.OK
    assert "Usage: ./invoke [--core-opts] docs" in ran.out
    assert "profile or site" in ran.out


def test_no_option_promises_what_no_verb_keeps() -> None:
    ran = boxwright("--dry", "provision", "--profile", "lab", "--yes")
    assert ran.code == Exit.BAD_INPUT
    assert "no option '--dry'" in ran.told


def test_the_list_is_quick_and_whole() -> None:
    def cost() -> float:
        """Processor time, because other programs run beside the tests."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = boxwright("--list")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert ran.code == Exit.OK
        assert {"provision", "lab.up", "secrets.show"} <= set(ran.out.split())
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(cost() for _ in range(3)) < 0.5


def test_tasks_of_the_callers_directory_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(TASKS_OF_A_STRANGER)
    ran = boxwright("plan", cwd=tmp_path)
    assert ran.code == Exit.BAD_INPUT
    assert "a stranger" not in ran.told
