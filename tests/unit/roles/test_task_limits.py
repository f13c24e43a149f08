"""Tasks that bring packages may take as long as a slow line, and wait for a machine that upgrades itself."""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "roles").glob("*/tasks/*.yml"))
AT_WORK_ON_PACKAGES = re.compile(r"apt-get -q|apt-get\W+(-q|update)|dpkg\W+--configure|emptied_conffiles.py")
FIRST_BOOT_S = 1800  # that unattended-upgrades may hold the lock; Ubuntu's installer leaves hundreds of megabytes to it
SLOW_LINE_S = 3 * 3600  # 4 GB, as a toolkit of CUDA has, at 3 Mbit/s; or thirty machines behind one of 100


def tasks(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in entries:
        for part in ("block", "rescue", "always"):
            yield from tasks(one.get(part, []))
        if "block" not in one:
            yield one


def lasts(task: dict[str, Any]) -> bool:
    """Whether it fetches or sets up packages, and does not only ask apt something."""
    text = json.dumps(task)
    asks = "--simulate" in text or task["name"].startswith("Look for")
    return "ansible.builtin.apt" in task or (AT_WORK_ON_PACKAGES.search(text) is not None and not asks)


FOUND = {
    f"{path.parents[1].name}: {one['name']}": one
    for path in FILES
    for one in tasks(yaml.safe_load(path.read_text(encoding="utf-8")) or [])
    if lasts(one)
}


def test_they_are_found() -> None:
    assert {"cuda_toolkit: Install the toolkit", "apt_repository: Read the repository"} <= set(FOUND)
    assert {"base: Finish the interrupted installation", "burn_in: Install packages"} <= set(FOUND)


@pytest.mark.parametrize("name", FOUND)
def test_the_limit_for_tasks_that_hang_is_not_theirs(name: str) -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "boxwright/engines/ansible/ansible.cfg")
    assert config.getint("defaults", "task_timeout") < FIRST_BOOT_S
    assert FOUND[name].get("timeout", 0) >= FIRST_BOOT_S + SLOW_LINE_S


@pytest.mark.parametrize("name", [name for name, one in FOUND.items() if "ansible.builtin.apt" in one])
def test_they_wait_for_another_program_that_is_at_work_on_packages(name: str) -> None:
    assert FOUND[name]["ansible.builtin.apt"]["lock_timeout"] == FIRST_BOOT_S


def test_no_other_wait_for_that_lock_is_shorter() -> None:
    texts = [path.read_text(encoding="utf-8") for path in FILES]
    found = [int(seconds) for text in texts for seconds in re.findall(r"Lock::Timeout=(\d+)", text)]
    assert found
    assert min(found) == FIRST_BOOT_S
