"""The verb against a server whose speed is known: what it measures, and how it ends."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from streaming_server import GAP_S, Server, streaming_server

from boxwright.bench.verbs import bench
from boxwright.console import Console
from boxwright.errors import Exit
from boxwright.places import ROOT
from boxwright.provisioning.target import Choice

# ssh that leads to the server where it is asked for a way, and does nothing else.
_SSH = """
import re, socket, sys, threading
way = re.search(r"127[.]0[.]0[.]1:(\\d+):127[.]0[.]0[.]1:\\d+", " ".join(sys.argv))
if not way:
    sys.exit(255)
def carry(one, other):
    while data := one.recv(65536):
        other.sendall(data)
    other.shutdown(socket.SHUT_WR)
with socket.create_server(("127.0.0.1", int(way[1]))) as here:
    while True:
        one, other = here.accept()[0], socket.create_connection(("127.0.0.1", PORT))
        for pair in ((one, other), (other, one)):
            threading.Thread(target=carry, args=pair, daemon=True).start()
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with streaming_server() as made:
        yield made


@pytest.fixture
def run(
    server: Server,
    stand_in: Callable[[str, str], None],
    own_places: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[float], tuple[Exit, list[dict[str, Any]]]]:
    """Measures a box of a profile with this floor by three requests at a time, and gives the code and what was told."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))  # of the vault's password
    way = tmp_path / "way.py"
    way.write_text(_SSH.replace("PORT", str(server.server_address[1])))
    stand_in("ssh", f'exec python3 {way} "$@"')
    site, profile = tmp_path / "site.yml", tmp_path / "slow.yml"
    site.write_text("name: s\nhosts: [{name: box-1, address: 192.0.2.1}]\n")

    def measured(floor: float) -> tuple[Exit, list[dict[str, Any]]]:
        text = (ROOT / "inventories/profiles/lab.yml").read_text().replace("name: lab\n", "name: slow\n")
        profile.write_text(re.sub(r"least_tokens_per_s: [0-9.]+", f"least_tokens_per_s: {floor}", text))
        told = io.StringIO()
        code = bench(
            Console(json=True, stdout=told),
            Choice(str(profile), str(site)),
            concurrency="3", context="64", answer=5, by="engine", timeout=30.0,
        )  # fmt: skip
        return code, [json.loads(line) for line in told.getvalue().splitlines()]

    return measured


def series_of(lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    (written,) = (line for line in lines if line["type"] == "measurements")
    return {one["name"]: one for one in json.loads(Path(written["file"]).read_text())["series"]}


def test_a_floor_is_judged_by_one_request_alone_whatever_is_asked_for_and_one_below_it_ends_with_6(
    run: Callable[[float], tuple[Exit, list[dict[str, Any]]]],
) -> None:
    code, lines = run(10 / GAP_S)
    assert code is Exit.VERIFY_FAILED
    assert [row["at_once"] for row in lines if row["type"] == "bench"] == ["1", "3"]
    (alone,) = (one for name, one in series_of(lines).items() if name.endswith(".alone"))
    assert alone["points"][0]["value"] < alone["floor"]
    assert any("One request alone is measured, too" in str(line) for line in lines)
    assert any("One answer alone" in str(line) and "wanted at least" in str(line) for line in lines)
    (held,) = (row for row in lines if row["type"] == "held")
    assert (held["at_once"], held["people"], held["each_at_least"]) == ("0", "0", "100 tok/s")


def test_one_that_holds_ends_with_0_and_says_for_how_many(
    run: Callable[[float], tuple[Exit, list[dict[str, Any]]]],
) -> None:
    code, lines = run(0.1 / GAP_S)
    assert code is Exit.OK, lines
    (held,) = (row for row in lines if row["type"] == "held")
    assert (held["at_once"], held["people"]) == ("3 (the most tried)", "30")
