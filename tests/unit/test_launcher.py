"""`./invoke` run for real in a copy of its own, with stand-ins for the programs that fetch things."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[2] / "invoke"
NEEDED = (
    "sh",
    "cat",
    "cmp",
    "dirname",
    "env",
    "flock",
    "ln",
    "mkdir",
    "mktemp",
    "readlink",
    "rm",
    "sleep",
    "tail",
)

MAKE_ENVIRONMENT = 'mkdir -p "$1/bin" && ln -sf {python} "$1/bin/python"'
# In the place of Boxwright's own: tells how it was called.
PROGRAM = """
import os, sys
print(os.getcwd(), os.environ["PYTHONPATH"], *sys.argv[1:], sep="\\n")
"""
UV = """#!/bin/sh
echo "uv $1 $2" >>{calls}
case $1 in
venv) set -- "$5"; {make} ;;
pip) {install} ;;
esac
"""
PYTHON_WITHOUT_ENSUREPIP = """#!/bin/sh
case "$*" in
*'import ensurepip'*) [ -e {installed} ] ;;
*version_info\\[1*) echo python3.11-venv ;;
*version_info*) echo {python} ;;
'-m venv '*) shift 2; {make} ;;
esac
"""
PYTHON_FOR_PIP = """#!/bin/sh
case "$*" in
'-m pip '*) echo "python $*" >>{calls} ;;
*) exec {python} "$@" ;;
esac
"""


@dataclass(frozen=True)
class Machine:
    """A directory with the launcher, and the only directory of programs that it finds."""

    repository: Path
    programs: Path
    calls: Path

    def add(self, name: str, text: str, **values: object) -> None:
        for key, value in {"calls": self.calls, "make": "", "install": "", **values}.items():
            text = text.replace("{" + key + "}", str(value))
        program = self.programs / name
        program.unlink(missing_ok=True)
        program.write_text(text)
        program.chmod(0o755)

    def add_uv(self, install: str = ":") -> None:
        self.add("uv", UV, make=MAKE_ENVIRONMENT.replace("{python}", sys.executable), install=install)

    def start(self, *arguments: str, cwd: Path | None = None, via: Path | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(via or self.repository / "invoke"), *arguments],
            cwd=cwd or self.repository,
            env={"PATH": str(self.programs), "TMPDIR": str(self.programs.parent)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, cwd: Path | None = None, via: Path | None = None) -> Result:
        process = self.start(*arguments, cwd=cwd, via=via)
        output, errors = process.communicate(timeout=30)
        return Result(process.returncode, output.splitlines(), errors)

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []

    def installations(self) -> int:
        return self.called().count("uv pip sync")


@dataclass(frozen=True)
class Result:
    code: int
    output: Sequence[str]
    errors: str


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    repository, programs = tmp_path / "a box" / "boxwright", tmp_path / "programs"
    repository.mkdir(parents=True)
    programs.mkdir()
    shutil.copy(LAUNCHER, repository)
    (repository / "requirements.lock").write_text("rich==1\n")
    (repository / "boxwright").mkdir()
    (repository / "boxwright/program.py").write_text(PROGRAM)
    for name in (*NEEDED, "chmod"):
        (programs / name).symlink_to(shutil.which(name) or pytest.fail(f"{name} is not installed"))
    (programs / "python3").symlink_to(sys.executable)
    made = Machine(repository, programs, tmp_path / "calls")
    made.add("id", "#!/bin/sh\necho 1000\n")
    made.add_uv()
    return made


def test_makes_the_environment_once_and_then_only_runs(machine: Machine) -> None:
    first, second = machine.run("plan"), machine.run("plan")
    assert (first.code, second.code) == (0, 0)
    assert "Making .venv" in first.errors
    assert second.errors == ""
    assert machine.installations() == 1


def test_keeps_the_callers_directory_and_arguments(machine: Machine, tmp_path: Path) -> None:
    link = tmp_path / "bw"
    link.symlink_to(machine.repository / "invoke")
    result = machine.run("plan", "--profile", "two words; $(id)", cwd=tmp_path, via=link)
    repository = str(machine.repository)
    assert result.output == [str(tmp_path), repository, "plan", "--profile", "two words; $(id)"]


def test_takes_no_module_out_of_the_callers_directory(machine: Machine, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "boxwright").mkdir(parents=True)
    (elsewhere / "boxwright/program.py").write_text("print('a stranger')")
    assert machine.run("plan", cwd=elsewhere, via=machine.repository / "invoke").output[-1] == "plan"


def test_makes_it_again_when_the_lock_changed_or_the_clone_moved(machine: Machine) -> None:
    machine.run()
    (machine.repository / "requirements.lock").write_text("rich==2\n")
    machine.run()
    assert machine.installations() == 2
    moved = machine.repository.rename(machine.repository.with_name("elsewhere"))
    assert Machine(moved, machine.programs, machine.calls).run().code == 0
    assert machine.installations() == 3


def test_makes_it_again_when_its_python_is_gone(machine: Machine) -> None:
    machine.run()
    python = machine.repository / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nonexistent/python3.11")
    assert machine.run().code == 0
    assert machine.installations() == 2


def test_a_failed_installation_shows_its_last_lines_and_is_made_again(machine: Machine) -> None:
    machine.add_uv("for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do echo line-$n; done; exit 1")
    failed = machine.run()
    assert failed.code == 1
    assert failed.output == []
    assert "line-1\n" not in failed.errors
    assert "line-2\n" in failed.errors
    assert "could not make .venv" in failed.errors
    machine.add_uv()
    assert machine.run("plan").output[-1] == "plan"


def test_a_killed_installation_is_made_again(machine: Machine) -> None:
    machine.add_uv("kill -9 $PPID; exit 0")
    assert machine.run().code != 0
    machine.add_uv()
    assert machine.run("plan").output[-1] == "plan"
    assert machine.installations() == 2


def test_two_at_once_install_once(machine: Machine) -> None:
    machine.add_uv("sleep 0.5")
    first = machine.start("plan")
    deadline = time.monotonic() + 10
    while not machine.called() and time.monotonic() < deadline:
        time.sleep(0.02)
    second = machine.run("plan")
    _, errors = first.communicate(timeout=30)
    assert (first.returncode, second.code) == (0, 0)
    assert "Making .venv" in errors
    assert "waiting for it" in second.errors
    assert machine.installations() == 1


def test_a_broken_uv_shim_is_not_used(machine: Machine) -> None:
    machine.add("uv", "#!/bin/sh\nexit 127\n")
    add_debian_python(machine)
    (machine.calls.parent / "installed").touch()
    assert machine.run("plan").output[-1] == "plan"


def test_without_a_new_enough_python_says_what_to_do(machine: Machine) -> None:
    machine.add("python3", "#!/bin/sh\nexit 1\n")
    result = machine.run()
    assert result.code == 1
    assert "Python 3.11 or newer" in result.errors
    assert "apt-get install python3-venv" in result.errors


def test_without_ensurepip_and_not_root_says_the_command(machine: Machine) -> None:
    (machine.programs / "uv").unlink()
    add_debian_python(machine)
    result = machine.run()
    assert result.code == 1
    assert "As root: apt-get install python3.11-venv" in result.errors
    assert not (machine.repository / ".venv").exists()


@pytest.mark.parametrize("lists", ["fresh", "none"])
def test_without_ensurepip_root_gets_it_by_apt(machine: Machine, lists: str) -> None:
    (machine.programs / "uv").unlink()
    installed = add_debian_python(machine)
    machine.add("id", "#!/bin/sh\necho 0\n")
    updated = machine.calls.parent / "lists"
    if lists == "fresh":
        updated.touch()
    machine.add(
        "apt-get",
        "#!/bin/sh\n"
        'echo "apt-get $*" >>{calls}\n'
        'case "$*" in *update) : >{updated} ;; *) [ -e {updated} ] && : >{installed} ;; esac\n',
        updated=updated,
        installed=installed,
    )
    result = machine.run("plan")
    assert result.code == 0, result.errors
    assert machine.called()[-2].endswith("install --no-install-recommends python3.11-venv")
    pip = machine.called()[-1]
    assert "--require-hashes" in pip
    assert "--only-binary :all:" in pip
    assert ("apt-get -q update" in machine.called()) == (lists == "none")


def add_debian_python(machine: Machine) -> Path:
    """Put Debian's python3 there: no ensurepip, until the returned file exists."""
    installed, pip_python = machine.calls.parent / "installed", machine.programs / "python-of-environment"
    machine.add(pip_python.name, PYTHON_FOR_PIP, python=shlex.quote(sys.executable))
    machine.add(
        "python3",
        PYTHON_WITHOUT_ENSUREPIP,
        installed=installed,
        make=MAKE_ENVIRONMENT.replace("{python}", shlex.quote(str(pip_python))),
        python=machine.programs / "python3",
    )
    return installed
