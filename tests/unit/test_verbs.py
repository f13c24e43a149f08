"""The verbs that need no twin, as a person and as a program run them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path

import pytest
from invoke.exceptions import Exit as InvokeExit
from verb_command import boxwright

from boxwright import places
from boxwright.errors import Exit
from boxwright.model.catalogues import load_profile, profile_names
from boxwright.places import ROOT
from boxwright.vault import SECRET_NAMES
from boxwright.verb import verb

SITE = "name: s\nhosts: [{name: box-1, address: 192.0.2.1}, {name: box-2, address: 192.0.2.2}]\n"


@pytest.mark.parametrize("topic", ["profile", "site"])
def test_docs_prints_the_commented_example(topic: str) -> None:
    example = (ROOT / f"docs/examples/{topic}.yml").read_text()
    ran = boxwright("docs", topic)
    assert (ran.code, ran.out) == (Exit.OK, example)
    (line,) = boxwright("docs", topic, "--json").kind("example")
    assert (line["topic"], line["text"]) == (topic, example)


def test_profiles_lists_every_profile_with_what_it_serves() -> None:
    rows = boxwright("profiles", "--json").kind("profile")
    assert [row["name"] for row in rows] == profile_names()
    for row in rows:
        profile = load_profile(row["name"])
        assert (row["model"], row["engine"], row["summary"]) == (
            profile.stack.model,
            profile.stack.engine,
            profile.summary,
        )
    ran = boxwright("profiles")
    assert ran.code == Exit.OK
    assert all(f"\n  {name} " in ran.out for name in profile_names())


@pytest.fixture
def site(tmp_path: Path, own_places: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))  # of the vault's password
    path = tmp_path / "site.yml"
    path.write_text(SITE)
    return str(path)


def test_secrets_show_prints_one_secret_bare_and_the_same_each_time(site: str) -> None:
    words = ("secrets.show", "--site", site, "--host", "box-1", "--name", "api_password")
    first, second = boxwright(*words), boxwright(*words)
    assert first.code == Exit.OK
    assert len(first.out.strip()) >= 32
    assert first.out == second.out == first.out.strip() + "\n"
    (line,) = boxwright(*words, "--json").kind("secret")
    assert line == {"type": "secret", "host": "box-1", "name": "api_password", "value": first.out.strip()}


def test_secrets_show_shows_all_of_the_first_host_and_no_two_hosts_share_one(site: str) -> None:
    of_first = boxwright("secrets.show", "--site", site, "--json").kind("secret")
    of_second = boxwright("secrets.show", "--site", site, "--host", "box-2", "--json").kind("secret")
    assert [row["name"] for row in of_first] == list(SECRET_NAMES)
    assert not {row["value"] for row in of_first} & {row["value"] for row in of_second}
    table = boxwright("secrets.show", "--site", site).out
    assert "Secrets of box-1" in table
    assert all(row["value"] in table for row in of_first)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--name", "api_pasword"), "no secret 'api_pasword'. Did you mean 'api_password'?"),
        (("--host", "box-3"), "has no host 'box-3'. Did you mean 'box-"),
    ],
)
def test_secrets_show_refuses_what_is_not_there(site: str, words: tuple[str, ...], message: str) -> None:
    ran = boxwright("secrets.show", "--site", site, *words)
    assert ran.code == Exit.BAD_INPUT
    assert message in ran.told
    assert ran.out == ""


@pytest.mark.parametrize("verb", ["lab.up", "lab.down", "lab.status", "lab.ssh"])
def test_a_site_of_real_machines_has_no_lab(site: str, verb: str) -> None:
    ran = boxwright(verb, "--site", site)
    assert ran.code == Exit.BAD_INPUT
    assert "are real machines" in ran.told


def findings(**environment: str) -> dict[str, dict[str, str]]:
    ran = boxwright("doctor", "--json", **environment)
    rows = {row["what"]: row for row in ran.kind("finding")}
    broken = [row for row in rows.values() if row["result"] == "missing" and row["needed_for"] == "every run"]
    assert ran.code == (Exit.ERROR if broken else Exit.OK)
    assert all(row["remedy"] for row in broken)
    return rows


@pytest.mark.usefixtures("own_places")
def test_doctor_tells_what_this_machine_has() -> None:
    rows = findings()
    assert (rows["Python"]["result"], rows["Python"]["found"]) == ("ok", ".".join(map(str, sys.version_info[:3])))
    assert (rows["root"]["result"] == "ok") == (os.geteuid() == 0)
    assert rows["state directory"] == {
        "type": "finding",
        "result": "ok",
        "what": "state directory",
        "found": str(places.state()),
        "needed_for": "every run",
        "remedy": "",
    }


def test_doctor_fails_where_others_may_read_the_state_directory(own_places: Path) -> None:
    own_places.mkdir(mode=0o755)
    own_places.chmod(0o755)
    row = findings()["state directory"]
    assert (row["result"], row["remedy"]) == ("missing", f"chmod 700 {own_places}")


@pytest.mark.usefixtures("own_places")
def test_doctor_fails_without_ssh_and_not_for_what_the_lab_alone_needs(tmp_path: Path) -> None:
    rows = findings(PATH=str(tmp_path))
    assert rows["OpenSSH client"]["result"] == "missing"
    assert rows["lab packages"]["result"] == "missing"
    assert rows["lab packages"]["needed_for"] == "the lab"


@pytest.mark.usefixtures("own_places")
def test_doctor_is_a_table_for_a_person() -> None:
    ran = boxwright("doctor")
    assert "Doctor" in ran.out
    assert {"Result", "What", "Found", "Remedy"} <= set(ran.out.split())


@pytest.mark.parametrize(
    ("problem", "message", "where", "hint"),
    [
        (OSError(28, "No space left on device", "b/x"), "No space left on device", "b/x", "Free some space"),
        (OSError(30, "Read-only file system", "b/x"), "Read-only file system", "b/x", "mount it for writing"),
        (OSError(13, "Permission denied", "a", None, "b"), "Permission denied", "b", "owner and the mode"),
        (OSError(2, "No such file or directory", "qemu-img"), "No such file or directory", "qemu-img", "doctor"),
        (OSError("what only it knows"), "what only it knows", "", "doctor"),
    ],
)
def test_what_fails_on_the_controller_itself_is_told_with_what_to_do(
    problem: OSError, message: str, where: str, hint: str
) -> None:
    def fails(_: object) -> None:
        raise problem

    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(InvokeExit) as ended:
        verb(fails, {})(None, json=True)
    assert ended.value.code == Exit.ERROR
    told = json.loads(out.getvalue())
    assert (told["message"], told["where"]) == (message, where)
    assert hint in told["hint"]
