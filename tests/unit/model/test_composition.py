"""Profiles share parts; a mistake is told with the file and line in which it really stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_profile
from boxwright.model.composition import joined

HARDWARE = "hardware: {cpu: {cores_per_socket: 2}, memory_gib: 4, disk_gib: 4}\n"
STACK = "stack: {model: smollm2, engine: llama_cpp}\n"
DOCUMENTS = st.recursive(
    st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)

MAPPINGS = st.dictionaries(st.sampled_from("abcd"), DOCUMENTS)


@pytest.fixture
def inventories(tmp_path: Path) -> Path:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "parts").mkdir()
    return tmp_path


def write(inventories: Path, profile: str, **parts: str) -> Path:
    for name, text in parts.items():
        (inventories / "parts" / f"{name}.yml").write_text(text)
    path = inventories / "profiles" / "box.yml"
    path.write_text(f"name: box\nsummary: a box\n{profile}")
    return path


def test_own_keys_go_before_parts_and_later_parts_before_earlier_ones(inventories: Path) -> None:
    first = (
        "kernel: {nofile_limit: 4096, transparent_hugepage: never}\nbase: {packages: [jq, vim], timezone: Asia/Tokyo}\n"
    )
    second = "kernel: {nofile_limit: 8192}\n"
    write(inventories, f"parts: [one, two]\n{HARDWARE}{STACK}base: {{packages: [htop]}}\n", one=first, two=second)
    profile = load_profile("box", inventories)
    assert (profile.kernel.nofile_limit, profile.kernel.transparent_hugepage) == (8192, "never")
    assert profile.base.packages == ("htop",)  # a list is replaced as a whole
    assert profile.base.timezone == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("profile", "part", "where", "message"),
    [
        (
            f"parts: [shared]\n{STACK}",
            "# comment\nhardware:\n  cpu: {cores_per_socket: 2}\n  memory_gib: -4\n  disk_gib: 4\n",
            "parts/shared.yml:4:3",
            "hardware.memory_gib: input should be greater than 0",
        ),
        (f"parts: [shared]\n{HARDWARE}{STACK}", "kernell: {}\n", "parts/shared.yml:1:1", "Did you mean 'kernel'"),
        (f"{HARDWARE}{STACK}parts: [shard]\n", "kernel: {}\n", "profiles/box.yml:5:9", "no part 'shard'. Did you mean"),
        (f"parts: shared\n{HARDWARE}{STACK}", "kernel: {}\n", "profiles/box.yml:3:1", "must be a list of names"),
        (f"parts: [shared]\n{HARDWARE}{STACK}", "parts: [more]\n", "parts/shared.yml:1:1", "no parts of its own"),
        (f"parts: [shared]\n{HARDWARE}{STACK}", "", "parts/shared.yml:1", "the file is empty"),
    ],
)
def test_mistakes_are_told_where_they_stand(
    inventories: Path, profile: str, part: str, where: str, message: str
) -> None:
    write(inventories, profile, shared=part)
    with pytest.raises(BadInputError) as caught:
        load_profile("box", inventories)
    assert str(inventories / where) == caught.value.where
    assert message in str(caught.value)


@given(
    below=st.dictionaries(st.sampled_from("abcd"), DOCUMENTS), above=st.dictionaries(st.sampled_from("abcd"), DOCUMENTS)
)
def test_joining_loses_no_key_and_keeps_what_is_above(below: dict[str, Any], above: dict[str, Any]) -> None:
    both = joined(below, above)
    assert both.keys() == below.keys() | above.keys()
    for key, value in above.items():
        if not isinstance(value, dict):
            assert both[key] == value
    assert joined(both, above) == both
