"""Wrong files end as one sentence with file, line, key and remedy; never as a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_profile, load_site, make_fleet
from boxwright.model.loading import load
from boxwright.model.profile import Profile
from boxwright.model.site import Site

PROFILE = """\
name: box
summary: a box
hardware:
  cpu: {cores_per_socket: 2}
  memory_gib: 4
  disk_gib: 4
stack:
  model: smollm2
  engine: llama_cpp
"""


def refused(tmp_path: Path, text: str, schema: type = Profile) -> BadInputError:
    path = tmp_path / "box.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInputError) as caught:
        load(path, schema)
    return caught.value


def test_a_good_file_loads(tmp_path: Path) -> None:
    path = tmp_path / "box.yml"
    path.write_text(PROFILE)
    assert load(path, Profile).stack.context_tokens == 4096


def test_unknown_key_names_place_and_neighbour(tmp_path: Path) -> None:
    error = refused(tmp_path, PROFILE + "kernal:\n  nofile_limit: 2048\n")
    assert "unknown key 'kernal'" in error.message
    assert "Did you mean 'kernel'?" in error.message
    assert error.where.endswith("box.yml:10:1")


def test_unknown_nested_key(tmp_path: Path) -> None:
    error = refused(tmp_path, PROFILE.replace("  model:", "  modell: x\n  model:"))
    assert "unknown key 'stack.modell'. Did you mean 'model'?" in error.message
    assert error.where.endswith(":8:3")


def test_wrong_type_shows_what_was_found(tmp_path: Path) -> None:
    error = refused(tmp_path, PROFILE.replace("memory_gib: 4", "memory_gib: much"))
    assert error.where.endswith(":5:3")
    assert "'much'" in error.message


def test_wrong_choice_offers_the_right_one(tmp_path: Path) -> None:
    error = refused(tmp_path, PROFILE.replace("engine: llama_cpp", "engine: lama_cpp"))
    assert "Did you mean 'llama_cpp'?" in error.message


def test_every_mistake_of_a_file_is_told(tmp_path: Path) -> None:
    error = refused(tmp_path, PROFILE.replace("summary: a box\n", "").replace("memory_gib: 4", "memory_gib: -1"))
    assert "summary" in str(error)
    assert "memory_gib" in str(error)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("- a\n- b\n", "mapping"),
        ("name: a\nname: b\n", "twice"),
        ("name: box\nhardware:\n\tcpu: 1\n", "tab"),
        ("name: [unclosed\n", "not valid YAML"),
        ("name: \x00\n", "not valid YAML"),
    ],
)
def test_what_is_no_settings_file(tmp_path: Path, text: str, told: str) -> None:
    assert told in str(refused(tmp_path, text))


def test_a_tag_runs_nothing_and_is_no_value(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    tag = f'!!python/object/apply:os.system ["touch {ran}"]'
    error = refused(tmp_path, PROFILE.replace("name: box", f"name: {tag}"))
    assert "name: input should be a valid string" in error.message
    assert not ran.exists()


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "box.yml"
    path.write_bytes(b"name: box\nsummary: caf\xe9\n")
    with pytest.raises(BadInputError, match="UTF-8") as caught:
        load(path, Profile)
    assert caught.value.where.endswith(":2")


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text_loads_or_is_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "site.yml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(BadInputError):
        load(path, Site)


@pytest.mark.parametrize("name", ["labb", "../lab", "lab; rm -rf /", ""])
def test_unknown_profile(name: str) -> None:
    with pytest.raises(BadInputError, match="no profile"):
        load_profile(name)


def test_profile_neighbour() -> None:
    with pytest.raises(BadInputError, match=r"Did you mean 'lab'\?"):
        load_profile("labb")


@pytest.mark.parametrize("host", ["a;b", "$(id)", "-oProxyCommand=x", "UPPER", "a b", "a'b", "x" * 64])
def test_host_names_with_shell_metacharacters(tmp_path: Path, host: str) -> None:
    path = tmp_path / "site.yml"
    quoted = host.replace("'", "''")
    path.write_text(f"name: s\nhosts:\n  - name: '{quoted}'\n    address: 192.0.2.1\n")
    with pytest.raises(BadInputError, match="host name") as caught:
        load(path, Site)
    assert ":3:" in caught.value.where


@pytest.mark.parametrize("address", ["192.0.2.1;id", "-oProxyCommand=x", "a b", "`id`"])
def test_addresses_with_shell_metacharacters(tmp_path: Path, address: str) -> None:
    path = tmp_path / "site.yml"
    path.write_text(f"name: s\nhosts:\n  - name: a\n    address: '{address}'\n")
    with pytest.raises(BadInputError):
        load(path, Site)


@pytest.mark.parametrize("field", ["name", "address"])
def test_duplicate_hosts(tmp_path: Path, field: str) -> None:
    other = {"name": "b", "address": "192.0.2.2"} | {field: {"name": "a", "address": "192.0.2.1"}[field]}
    path = tmp_path / "site.yml"
    path.write_text(
        "name: s\nhosts:\n  - {name: a, address: 192.0.2.1}\n"
        f"  - {{name: {other['name']}, address: {other['address']}}}\n"
    )
    with pytest.raises(BadInputError, match=f"share the {field}"):
        load(path, Site)


def test_a_fleet_knows_its_model(tmp_path: Path) -> None:
    from boxwright.model.catalogues import load_accelerators, load_models

    path = tmp_path / "box.yml"
    path.write_text(PROFILE.replace("smollm2", "smolm2"))
    with pytest.raises(BadInputError, match=r"Did you mean 'smollm2"):
        make_fleet(load(path, Profile), load_site("lab"), load_models(), load_accelerators())
