"""`enroll` against ssh servers on 127.0.0.1, asked by the real ssh-keyscan; a lab test does it with real sshds."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from boxwright.console import Console
from boxwright.enrolment.verbs import enroll
from boxwright.errors import BadInputError, ChangedKeyError, Exit
from boxwright.model.catalogues import load_site
from boxwright.transport.host_keys import HostKey
from boxwright.transport.ssh import Endpoint, run


class Terminal(io.StringIO):
    """A stream that a person sits at."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Bench:
    """A site of two ssh servers, and what `enroll` said of them."""

    def __init__(self, folder: Path, servers: list[Any]) -> None:
        self.folder = folder
        self.servers = servers
        self.site = folder / "line.yml"
        self.kept = folder / "state" / "sites" / "line" / "known_hosts"
        self.write(*(server.port for server in servers))

    def write(self, *ports: int) -> None:
        hosts = "".join(f"  - {{name: box-{n}, address: 127.0.0.1, port: {port}}}\n" for n, port in enumerate(ports, 1))
        key = self.servers[0].key_file
        self.site.write_text(f"name: line\nhosts:\n{hosts}ssh: {{key: {key}, connect_timeout_s: 2}}\n")

    def print_of(self, number: int) -> str:
        key = self.servers[number - 1]._host_key
        return HostKey(key.get_name(), key.get_base64()).fingerprint

    def enroll(
        self, *, host: str = "", given: str = "", replace: str = "", yes: bool = False
    ) -> tuple[Exit, list[Any]]:
        out = io.StringIO()
        console = Console(json=True, stdout=out)
        code = enroll(console, site=str(self.site), host=host, fingerprint=given, replace=replace, yes=yes)
        return code, [json.loads(line) for line in out.getvalue().splitlines()]

    def answer(self, words: str, **options: Any) -> tuple[Exit, str]:
        out = Terminal()
        console = Console(stdout=out, stderr=out, stdin=Terminal(words), width=200)
        wish = {"host": "", "fingerprint": "", "replace": "", "yes": False} | options
        return enroll(console, site=str(self.site), **wish), out.getvalue()

    def ssh(self, number: int) -> str:
        site = load_site(str(self.site))
        return run(Endpoint.of(site, site.hosts[number - 1]), "echo in", timeout_s=20).stdout


@pytest.fixture
def bench(tmp_path: Path, own_places: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "engines"))
    from pyinfra_testbed import SshServer

    servers = []
    for number in (1, 2):
        (tmp_path / f"server-{number}").mkdir()
        servers.append(SshServer(tmp_path / f"server-{number}"))
    servers[1].user_key = servers[0].user_key
    yield Bench(tmp_path, servers)
    for server in servers:
        server.close()


def results(lines: list[Any]) -> dict[str, str]:
    return {line["host"]: line["result"] for line in lines if line["type"] == "host_key"}


def reinstalled(bench: Bench, number: int) -> None:
    """The same place answers by another key."""
    bench.servers[number - 1]._host_key = paramiko.ECDSAKey.generate()


def test_without_a_person_nothing_is_pinned_and_nobody_is_asked(bench: Bench) -> None:
    with pytest.raises(BadInputError, match="confirm the fingerprints of box-2") as refused:
        bench.enroll(given=f"box-1={bench.print_of(1)}")
    assert refused.value.exit_code == Exit.BAD_INPUT
    assert "--fingerprint HOST=SHA256" in refused.value.hint
    assert not bench.kept.exists()


def test_given_fingerprints_pin_and_let_in(bench: Bench) -> None:
    code, lines = bench.enroll(given=f"box-1={bench.print_of(1)},box-2={bench.print_of(2)}")
    assert code == Exit.OK
    assert results(lines) == {"box-1": "pinned", "box-2": "pinned"}
    assert bench.ssh(1) == "in\n"
    before = bench.kept.read_bytes()
    code, lines = bench.enroll()
    assert (code, set(results(lines).values())) == (Exit.OK, {"already pinned"})
    assert bench.kept.read_bytes() == before


def test_a_wrong_fingerprint_refuses_that_host_alone(bench: Bench) -> None:
    code, lines = bench.enroll(given=f"box-1={bench.print_of(2)},box-2={bench.print_of(2)}")
    assert code == Exit.PARTIAL
    assert results(lines) == {"box-1": "refused", "box-2": "pinned"}
    (error,) = [line for line in lines if line["type"] == "error"]
    assert error["where"] == "box-1"
    assert bench.print_of(1) in error["message"]
    assert str(bench.servers[0].port) not in bench.kept.read_text()


def test_two_boxes_with_one_key_are_not_both_pinned(bench: Bench) -> None:
    bench.servers[1]._host_key = bench.servers[0]._host_key  # a disk that was copied with its keys
    same = bench.print_of(1)
    code, lines = bench.enroll(given=f"box-1={same},box-2={same}")
    assert code == Exit.PARTIAL
    assert results(lines) == {"box-1": "pinned", "box-2": "refused"}
    (error,) = [line for line in lines if line["type"] == "error"]
    assert "the same key as box-1" in error["message"]
    assert "ssh-keygen -A" in error["hint"]
    code, lines = bench.enroll(host="box-2", yes=True)  # nor by itself
    assert (code, results(lines)) == (Exit.ERROR, {"box-2": "refused"})
    bench.kept.write_text(
        bench.kept.read_text() + bench.kept.read_text().replace(str(bench.servers[0].port), str(bench.servers[1].port))
    )
    code, lines = bench.enroll()  # pinned before anybody looked for that
    assert (code, set(results(lines).values())) == (Exit.OK, {"already pinned"})
    assert [line for line in lines if line["type"] == "message" and "the same key as box-1" in line["text"]]


def test_the_question_names_the_serial_number_that_a_person_sees_on_the_box(bench: Bench) -> None:
    bench.site.write_text(bench.site.read_text().replace("box-1, ", "box-1, serial: SN-0001, "))
    _, text = bench.answer("y\nn\n")
    assert "Does the console of box-1 (SN-0001) show" in text
    assert "Does the console of box-2 show" in text


def test_a_changed_key_stops_that_host_with_both_fingerprints(bench: Bench) -> None:
    bench.enroll(yes=True)
    pinned = bench.print_of(1)
    reinstalled(bench, 1)
    with pytest.raises(ChangedKeyError) as refused:
        bench.ssh(1)
    assert f"pinned {pinned}, offered {bench.print_of(1)}" in refused.value.message
    assert "./invoke enroll --replace box-1" in refused.value.hint
    assert bench.ssh(2) == "in\n"

    code, lines = bench.enroll(yes=True)  # agreeing to what is new is not agreeing to what has changed
    assert code == Exit.PARTIAL
    assert results(lines) == {"box-1": "CHANGED KEY", "box-2": "already pinned"}
    code, lines = bench.enroll(replace="box-1", given=f"box-1={bench.print_of(1)}")
    assert (code, results(lines)["box-1"]) == (Exit.OK, "pinned anew")
    assert bench.ssh(1) == "in\n"
    assert pinned not in json.dumps(lines)


def test_a_key_of_another_kind_is_a_changed_key(bench: Bench) -> None:
    bench.enroll(yes=True)
    pinned = bench.print_of(1)
    bench.servers[0]._host_key = paramiko.RSAKey.generate(2048)
    with pytest.raises(ChangedKeyError) as refused:
        bench.ssh(1)
    assert f"pinned {pinned}, offered {bench.print_of(1)}" in refused.value.message


def test_only_what_was_confirmed_is_pinned(bench: Bench) -> None:
    bench.servers[0].further_host_keys.append(paramiko.RSAKey.generate(2048))
    code, text = bench.answer("y\n", host="box-1")
    assert code == Exit.OK
    assert f"Does the console of box-1 show {bench.print_of(1)} (ECDSA)?" in text
    assert "RSA " in text  # told, as a console may show that one
    assert "ssh-rsa" not in bench.kept.read_text()
    assert bench.print_of(1) in text


def test_a_person_confirms_one_and_declines_the_other(bench: Bench) -> None:
    code, text = bench.answer("y\nn\n")
    assert code == Exit.PARTIAL
    assert "declined" in text
    assert str(bench.servers[0].port) in bench.kept.read_text()
    assert str(bench.servers[1].port) not in bench.kept.read_text()
    with pytest.raises(Exception, match="its host key is not known yet"):
        bench.ssh(2)


def test_what_was_confirmed_before_ctrl_c_stays(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def confirm(_: Console, question: str) -> bool:
        asked.append(question)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr(Console, "confirm", confirm)
    with pytest.raises(KeyboardInterrupt):
        bench.answer("")
    code, text = bench.answer("", host="box-1")
    assert (code, len(asked)) == (Exit.OK, 2)
    assert "already pinned" in text


def test_a_host_that_does_not_answer_keeps_nobody_from_the_others(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bench.write(bench.servers[0].port, silent.getsockname()[1])
        code, lines = bench.enroll(yes=True)
    assert code == Exit.PARTIAL
    assert results(lines) == {"box-1": "pinned", "box-2": "no answer"}


def test_a_host_instead_of_a_site(bench: Bench, own_places: Path) -> None:
    console = Console(json=True, stdout=io.StringIO())
    host = f"root@127.0.0.1:{bench.servers[0].port}"
    given = f"127.0.0.1={bench.print_of(1)}"
    assert enroll(console, site="", host=host, fingerprint=given, replace="", yes=False) == Exit.OK
    assert (own_places / "sites" / "127-0-0-1" / "known_hosts").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"site": "lab"}, "are twins"),
        ({"site": ""}, "which machine"),
        ({"site": "labb"}, r"Did you mean 'lab'\?"),
        ({"replace": "box-11"}, r"--replace: no host 'box-11' here\. Did you mean 'box-1'\?"),
        ({"host": "box-3"}, "has no 'box-3'"),
    ],
)
def test_wrong_arguments_contact_nobody(bench: Bench, options: dict[str, str], told: str) -> None:
    wish = {"site": str(bench.site), "host": "", "fingerprint": "", "replace": ""} | options
    with pytest.raises(BadInputError, match=told):
        enroll(Console(json=True, stdout=io.StringIO()), yes=True, **wish)  # type: ignore[arg-type]
