"""From llama.cpp to Ollama and back on a whole box, by `models.switch`, the main service and one beside it.

Ollama is SIMULATED, unless BOXWRIGHT_OLLAMA_TARBALL names a genuine archive.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_command import Boxwright, Ran
from model_switching import Visitor, add_models
from ruamel.yaml import YAML
from test_lab_provision import on_twin

from boxwright.errors import Exit

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(1800)]

TWIN = pytest.mark.parametrize("twin_site", [("test-switch", "debian-13")], indirect=True, ids=["13"])
PROFILE = """\
name: switching
summary: the lab's model twice, without a chat page
hardware: {cpu: {sockets: 1, cores_per_socket: 2}, memory_gib: 4, disk_gib: 6}
stack:
  model: smollm2-135m-instruct
  engine: llama_cpp
  context_tokens: 4096
  chat_page: none
  further:
    - {name: second, model: smollm2-135m-instruct, engine: llama_cpp, context_tokens: 512, engine_port: 8001}
"""
UNITS = "ls /etc/systemd/system | grep -e '^ollama' -e '^llama-server' || :; ls /var/lib/boxwright/proven"
OF_LLAMA_CPP = ["llama-server-second.service", "llama-server.service"] * 2


@pytest.fixture(scope="module")
def words(boxwright: Boxwright, twin_site: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """What is said to mean the box; it is provisioned."""
    folder = tmp_path_factory.mktemp("models")
    add_models(Path(twin_site), folder)
    (folder / "switching.yml").write_text(PROFILE)
    said = ("--profile", str(folder / "switching.yml"), "--site", twin_site)
    ran = boxwright("provision", *said, "--yes")
    assert ran.code == Exit.OK, ran.text[-4000:]
    return said


def switched(boxwright: Boxwright, words: tuple[str, ...], model: str, engine: str, *more: str) -> Ran:
    return boxwright("models.switch", *words, "--model", model, "--engine", engine, *more, "--yes")


def visitor(boxwright: Boxwright, words: tuple[str, ...], model: str) -> Visitor:
    site = words[-1]
    (secret,) = boxwright("secrets.show", "--site", site, "--name", "api_key").kind("secret")
    (twin,) = boxwright("lab.status", "--site", site).kind("twin")
    authority = Path(boxwright.environment["BOXWRIGHT_STATE"], "sites/test-switch/test-switch-1-ca.crt")
    return Visitor(twin["address"], authority, secret["value"], model)


def assert_that_nobody_saw_but_the_503(seen: Visitor, first: str, last: str) -> None:
    served = [reply.json()["data"][0]["id"] for reply in seen.replies if reply.is_success]
    assert (served[0], served[-1]) == (first, last)
    away = [reply for reply in seen.replies if not reply.is_success]
    assert {(reply.status_code, reply.headers.get("Retry-After")) for reply in away} == {(503, "10")}
    errors = [reply.json()["error"] for reply in away]
    # The gateway's own; and, as an engine's own answers pass, that of a llama-server which loads its model.
    assert {(one["code"], one["type"]) for one in errors} - {(503, "unavailable_error")} == {
        ("engine_unavailable", "server_error")
    }


def assert_that_it_holds(ran: Ran) -> None:
    assert ran.code == Exit.OK, ran.text[-4000:]
    assert ran.kind("check")
    assert ran.odd_checks == {}


@TWIN
def test_what_ollama_does_not_serve_is_served_by_llama_cpp_again(
    boxwright: Boxwright, twin_site: str, words: tuple[str, ...]
) -> None:
    failed = switched(boxwright, words, "broken", "ollama")
    assert failed.code == Exit.ERROR, failed.text[-3000:]
    assert "switched to broken/q4_1. llama-server.service serves smollm2-135m-instruct again" in failed.text
    assert on_twin(boxwright, twin_site, UNITS).split() == OF_LLAMA_CPP
    assert on_twin(boxwright, twin_site, "nft list tables").count("ollama") == 0


@TWIN
def test_ollama_takes_over_and_gives_back(boxwright: Boxwright, twin_site: str, words: tuple[str, ...]) -> None:
    with visitor(boxwright, words, "smollm2-135m-instruct") as seen:
        assert_that_it_holds(switched(boxwright, words, "again", "ollama"))
    assert_that_nobody_saw_but_the_503(seen, "smollm2-135m-instruct", "again:latest")
    assert seen.cut is not None
    assert seen.cut.status_code == 503
    assert "llama-server.service" not in on_twin(boxwright, twin_site, UNITS).split()
    assert boxwright("plan", *words).code == Exit.OK

    failed = switched(boxwright, words, "broken", "llama_cpp")
    assert failed.code == Exit.ERROR, failed.text[-3000:]
    assert "was not switched to broken/q4_1. ollama.service serves again again" in failed.text

    with visitor(boxwright, words, "again") as seen:
        assert_that_it_holds(switched(boxwright, words, "smollm2-135m-instruct", "llama_cpp"))
    assert_that_nobody_saw_but_the_503(seen, "again:latest", "smollm2-135m-instruct")
    assert on_twin(boxwright, twin_site, UNITS).split() == OF_LLAMA_CPP
    left = "nft list tables | grep ollama; ls /etc/ollama /var/lib/prometheus/node-exporter/*ollama* 2>/dev/null; :"
    assert on_twin(boxwright, twin_site, left) == ""
    assert boxwright("plan", *words).code == Exit.OK


@TWIN
def test_a_service_beside_the_main_one_is_switched_alone(
    boxwright: Boxwright, twin_site: str, words: tuple[str, ...]
) -> None:
    started = "systemctl show --property=ActiveEnterTimestampMonotonic --value llama-server"
    before = on_twin(boxwright, twin_site, started)
    assert_that_it_holds(switched(boxwright, words, "again", "ollama", "--service", "second"))
    assert "ollama-second.service" in on_twin(boxwright, twin_site, UNITS).split()
    kept = Path(boxwright.environment["BOXWRIGHT_STATE"], "sites/test-switch/switched.yml")
    told = YAML(typ="safe").load(kept)
    assert (list(told), told["further"]["switching"]["second"]["engine"]) == (["further"], "ollama")
    assert boxwright("plan", *words).code == Exit.OK
    rows = boxwright("models", *words).kind("model_on_box")
    used = {row["build"] for row in rows if row["use"] == "served"}
    assert used == {"again/q4_1", "smollm2-135m-instruct/q4_1"}

    failed = switched(boxwright, words, "broken", "llama_cpp", "--service", "second")
    assert "was not switched to broken/q4_1. ollama-second.service serves again again" in failed.text
    assert_that_it_holds(switched(boxwright, words, "smollm2-135m-instruct", "llama_cpp", "--service", "second"))
    assert on_twin(boxwright, twin_site, UNITS).split() == OF_LLAMA_CPP
    assert not kept.exists()
    assert on_twin(boxwright, twin_site, started) == before  # whatever went on beside it
    assert boxwright("plan", *words).code == Exit.OK
