"""What holds of the repository as a whole: what no file names, that the lock is whole, that docs keep up."""

from __future__ import annotations

import importlib.util
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from invoke import Collection
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from boxwright import linting

ROOT = Path(__file__).parents[2]

# Put together from pieces, so that this file keeps its own rules.
REGISTRY_HOSTS = "|".join(
    (
        r"(deb|security|ftp|snapshot|archive|http|cdn-aws)\." + r"debian\.org",
        r"(files\.)?python" + r"hosted\.org",
        r"(test\.)?pypi" + r"\.(org|python\.org)",
        r"registry\.npm" + r"js\.org",
        r"registry\.yarn" + r"pkg\.com",
    )
)
FORBIDDEN = {
    "a package registry's host": re.compile(rf"(?<![\w.-])({REGISTRY_HOSTS})\b", re.IGNORECASE),
    "a path of the machine it was written on": re.compile(r"(?<![\w./-])/" + r"work/"),
}
MOST_LINES = 450


def texts() -> dict[Path, str]:
    """Every text file that git knows, by its path in the repository."""
    found = {}
    for path in linting.known_files(ROOT):
        content = (ROOT / path).read_bytes()
        if b"\0" not in content:
            found[path] = content.decode()
    return found


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_names(what: str) -> None:
    found = [
        f"{path}:{number}: {line.strip()}"
        for path, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if FORBIDDEN[what].search(line)
    ]
    assert not found, f"{what} is named in:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("https://" + "deb." + "debian.org/debian", True),
        ("index-url = https://" + "pypi" + ".org/simple", True),
        ("see www.debian.org", False),
        ("/var/lib/boxwright/work/x", False),
        ("cd /" + "work/main", True),
    ],
)
def test_forbidden_names_are_recognised(line: str, named: bool) -> None:
    assert any(pattern.search(line) for pattern in FORBIDDEN.values()) is named


def test_lock_pins_every_package_by_hash_and_names_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "--index" not in lock
    pins = re.split(r"^(?=[a-z])", lock, flags=re.MULTILINE)[1:]
    assert len(pins) > 30
    for pin in pins:
        assert re.match(r"[a-z0-9.-]+==\S+ ", pin), pin
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", pin), pin.splitlines()[0]


def test_lock_satisfies_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    for line in project["dependencies"] + project["optional-dependencies"]["dev"]:
        wanted = Requirement(line)
        version = locked.get(canonicalize_name(wanted.name))
        assert version, f"{line} is not in requirements.lock; CONTRIBUTING.md tells how to make it again"
        assert wanted.specifier.contains(version), f"{line}, but the lock has {version}"


def test_programs_are_executable() -> None:
    for program in ("invoke", ".ci/run"):
        assert os.access(ROOT / program, os.X_OK), program


def test_no_module_grows_beyond_a_sitting() -> None:
    long = {
        str(path): text.count("\n")
        for path, text in texts().items()
        if path.suffix == ".py" and path.parts[0] == "boxwright" and text.count("\n") > MOST_LINES
    }
    assert not long, f"more than {MOST_LINES} lines; split by what they do: {long}"


def verbs() -> list[str]:
    """The verbs as `./invoke --list` shows them."""
    specification = importlib.util.spec_from_file_location("tasks", ROOT / "tasks.py")
    assert specification is not None
    assert specification.loader is not None
    tasks = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(tasks)
    return sorted(Collection.from_module(tasks).task_names)


def test_every_verb_has_a_page_and_every_page_a_verb() -> None:
    pages = {page.stem: page.read_text() for page in (ROOT / "docs/verbs").glob("*.md") if page.stem != "README"}
    missing = [verb for verb in verbs() if f"./invoke {verb}" not in pages.get(verb.split(".")[0], "")]
    assert not missing, f"no page docs/verbs/VERB.md shows `./invoke VERB` for: {missing}"
    orphans = set(pages) - {verb.split(".")[0] for verb in verbs()}
    assert not orphans, f"pages of verbs that are gone: {orphans}"


def test_every_role_has_a_page_and_every_page_a_role() -> None:
    roles = {role.name for role in (ROOT / "roles").iterdir() if role.is_dir()}
    pages = {page.stem for page in (ROOT / "docs/roles").glob("*.md") if page.stem != "README"}
    assert pages == roles


def test_every_deploy_has_a_page() -> None:
    deploys = {deploy.stem for deploy in (ROOT / "deploys").glob("*.py") if not deploy.stem.startswith("_")}
    assert deploys <= {page.stem for page in (ROOT / "docs/deploys").glob("*.md")}


def headings(text: str) -> list[str]:
    return re.findall(r"^(#+) ", without_code(text), re.MULTILINE)


def code_blocks(text: str) -> list[str]:
    """The fenced blocks without their comments, which are translated."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(r"\s*(^|(?<=\s))#.*", "", block, flags=re.MULTILINE).strip() for block in blocks]


def images(text: str) -> list[str]:
    return re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("part", [headings, code_blocks, images])
def test_the_chinese_readme_follows_the_english_one(part: Callable[[str], list[str]]) -> None:
    assert part((ROOT / "README.zh-CN.md").read_text()) == part((ROOT / "README.md").read_text())


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{path}: {target}"
        for path, text in texts().items()
        if path.suffix == ".md"
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", without_code(text))
        if "://" not in target and not (ROOT / path.parent / target).exists()
    ]
    assert not broken
