"""Source of programs for cards: fetched once from a real server, taken from here, refused where it is another."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from boxwright.errors import BadInputError, BoxwrightError
from boxwright.factory import nix_tree
from boxwright.factory.card_sources import kept_source, source_of
from boxwright.factory.source_tree import tree_in
from boxwright.model.card_programs import CARD_PROGRAMS, CardProgram


def archive(text: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        member = tarfile.TarInfo("it-v1/main.cpp")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOXWRIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def program(tmp_path: Path) -> CardProgram:
    path = tmp_path / "it.tar.gz"
    path.write_bytes(archive("int main() {}\n"))
    tree = nix_tree.digest(tree_in(path))
    return CardProgram(name="it", program="it", version="1", repository="some/it", revision="v1", tree=tree)


@pytest.fixture
def mirror() -> Iterator[tuple[str, dict[str, bytes], list[str]]]:
    """A server, what it has by path, and what it was asked for."""
    has: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200 if self.path in has else 404)
            self.end_headers()
            self.wfile.write(has.get(self.path, b""))

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/copy", has, asked
    server.shutdown()
    server.server_close()


def test_it_is_fetched_once_and_packed_the_same_way_however_it_came(
    program: CardProgram, mirror: tuple[str, dict[str, bytes], list[str]], tmp_path: Path
) -> None:
    address, has, asked = mirror
    has["/copy/some/it/archive/v1.tar.gz"] = archive("int main() {}\n")
    told: list[str] = []
    first = source_of(program, address, told.append)
    content = first.read_bytes()
    assert source_of(program, address, told.append) == first
    assert (asked, told) == (["/copy/some/it/archive/v1.tar.gz"], ["Fetching the source of it 1 …"])
    first.unlink()
    carried = tmp_path / "carried"
    carried.write_bytes(archive("int main() {}\n"))
    assert source_of(program, "http://127.0.0.1:9", told.append, carried=[carried]).read_bytes() == content


def test_what_a_person_put_there_is_taken(program: CardProgram) -> None:
    place = kept_source(program)
    place.parent.mkdir(parents=True)
    place.with_suffix(".tar.gz").write_bytes(archive("int main() {}\n"))
    assert source_of(program, "http://127.0.0.1:9", print) == place


def test_other_files_are_refused_from_wherever_they_come(
    program: CardProgram, mirror: tuple[str, dict[str, bytes], list[str]]
) -> None:
    address, has, _ = mirror
    has["/copy/some/it/archive/v1.tar.gz"] = archive("int main() { return 1; }\n")
    with pytest.raises(BadInputError, match="this is not the source of it 1") as refused:
        source_of(program, address, print)
    assert program.tree in refused.value.message
    assert not kept_source(program).exists()


def test_what_cannot_be_fetched_names_three_ways_out(
    program: CardProgram, mirror: tuple[str, dict[str, bytes], list[str]]
) -> None:
    with pytest.raises(BoxwrightError, match=r"cannot be fetched: .*404") as failed:
        source_of(program, mirror[0], print)
    assert failed.value.where == f"{mirror[0]}/some/it/archive/v1.tar.gz"
    for way in (f"{kept_source(program)}.gz", "mirrors.github", "bundle.lock --also burnin"):
        assert way in (failed.value.hint or "")


def test_every_program_that_burn_ins_load_cards_with_is_pinned_or_a_package() -> None:
    from boxwright.burnin.cards import TOOLS

    assert {one.name for one in TOOLS} - {one.program for one in CARD_PROGRAMS} == {"dcgmi"}
