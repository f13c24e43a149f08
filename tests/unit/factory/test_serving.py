"""What a bundle's server answers: ranges, pages, and nothing that is not in its table."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from factory.bundles import CONTENTS, artefact, lock_of, made_bundle
from hypothesis import given
from hypothesis import strategies as st

from boxwright.errors import BadInputError, Exit, LockedError
from boxwright.factory import serving as serving_module
from boxwright.factory.bundle import Bundle
from boxwright.factory.lock import Lock
from boxwright.factory.serving import byte_range, serving, table
from boxwright.model.debian_packages import BUNDLE_KEY
from boxwright.signing import SigningKey
from boxwright.whole_files import write_whole

BETA = next(one for one in lock_of().artefacts if one.name == "beta")
FILE = f"/lab-debian-12/files/{BETA.sha256}"


@pytest.fixture
def port(tmp_path: Path, own_places: Path) -> Iterator[int]:
    bundle = made_bundle(tmp_path / "bundle", tmp_path / "key")
    with serving(table(bundle, bundle.signed()[0]), "127.0.0.1", 0) as server:
        yield server.server_address[1]


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=named)
    answer = connection.getresponse()
    told = answer.status, dict(answer.headers), answer.read()
    connection.close()
    return told


def test_a_file_comes_whole_by_its_digest(port: int) -> None:
    status, headers, body = ask(port, FILE)
    assert (status, body) == (200, CONTENTS["beta"])
    assert headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [("bytes=0-3", slice(0, 4)), ("bytes=11990-", slice(11990, None)), ("bytes=-7", slice(-7, None))],
)
def test_a_part_comes_as_a_part(port: int, asked: str, wanted: slice) -> None:
    status, headers, body = ask(port, FILE, Range=asked)
    assert (status, body) == (206, CONTENTS["beta"][wanted])
    assert headers["Content-Range"].endswith("/12000")


def test_what_lies_behind_the_end_cannot_be_had(port: int) -> None:
    status, headers, _ = ask(port, FILE, Range="bytes=12000-")
    assert (status, headers["Content-Range"]) == (416, "bytes */12000")


def test_a_part_of_another_file_is_not_continued(port: int) -> None:
    assert ask(port, FILE, Range="bytes=5-", If_Range='"somebody else\'s"')[0] == 200
    assert ask(port, FILE, Range="bytes=5-", If_Range=f'"{BETA.sha256}"')[0] == 206


def test_head_sends_no_body(port: int) -> None:
    status, headers, body = ask(port, FILE, "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "12000", b"")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/lab-debian-12/",
        "/../bundle.json",
        "/lab-debian-12/../../../etc/passwd",
        "/lab-debian-12/%2e%2e/bundle.json",
        "/bundle.json",
        "/locks/lab-debian-12.json",
        "/lab-debian-12/files/" + "0" * 64,
        "//etc/passwd",
        "/lab-debian-12/simple/nobody/",
    ],
)
def test_nothing_else_can_be_asked_for(port: int, path: str) -> None:
    assert ask(port, path)[0] == 404


def test_lists_of_packages_come_with_plus_and_tilde_in_any_spelling(port: int) -> None:
    assert ask(port, "/lab-debian-12/apt/dists/platform/InRelease")[2] == b"signed list\n"
    assert ask(port, "/lab-debian-12/apt/dists/pl%61tform/InRelease")[0] == 200


def test_the_index_has_a_page_for_each_package_with_digests(port: int) -> None:
    page = ask(port, "/lab-debian-12/simple/beta/")[2].decode()
    assert f'href="../../files/{BETA.sha256}/{BETA.file}#sha256={BETA.sha256}"' in page
    assert ask(port, f"/lab-debian-12/files/{BETA.sha256}/{BETA.file}")[2] == CONTENTS["beta"]


def test_a_taken_port_is_told_with_whose_run_has_it(own_places: Path) -> None:
    with (
        serving({}, "127.0.0.1", 0, doing="a run with --profile lab") as server,
        pytest.raises(LockedError, match=r"has been serving a bundle there since .*: a run with --profile lab") as told,
        serving({}, "127.0.0.1", int(server.server_address[1])),
    ):
        pass
    assert "bundle.serve" in told.value.hint
    assert told.value.exit_code == Exit.LOCKED


def test_who_served_before_is_not_who_has_the_port_now(own_places: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        note = serving_module._note("127.0.0.1", port)
        note.write_text('{"who": "ada@bench", "since": "2026", "doing": "x"}')  # of a run that was killed
        with pytest.raises(BadInputError, match="another program has that port"), serving({}, "127.0.0.1", port):
            pass
    with pytest.raises(BadInputError, match="no address of this machine"), serving({}, "192.0.2.1", 8873):
        pass


@given(st.text(max_size=30), st.integers(1, 10**12))
def test_no_range_leads_outside_the_file(asked: str, size: int) -> None:
    for text in (asked, f"bytes={asked}", None):
        part = byte_range(text, size)
        assert part is None or (part[0] >= 0 and part[1] > 0 and sum(part) <= size)


@pytest.mark.usefixtures("own_places")
def test_a_source_distribution_is_in_the_index_and_the_key_beside_its_lists(tmp_path: Path) -> None:
    data = b"source code"
    source = artefact("llama.cpp", data, kind="source", file="llama_cpp_python-0.3.36.tar.gz")
    bundle, lock = Bundle(tmp_path / "b"), Lock(profile="lab", distribution="debian-12", artefacts=(source,))
    write_whole(bundle.artefact(source.sha256), data)
    write_whole(bundle.lock_file(lock.name), lock.text.encode())
    write_whole(bundle.lists(lock.name) / BUNDLE_KEY, b"a key")
    bundle.sign(SigningKey.kept_in(tmp_path / "key"), own=[lock.name])
    with serving(table(bundle, bundle.signed()[0]), "127.0.0.1", 0) as server:
        port = server.server_address[1]
        page = ask(port, "/lab-debian-12/simple/llama-cpp-python/")[2].decode()
        assert f"files/{source.sha256}/{source.file}#sha256={source.sha256}" in page
        assert ask(port, f"/lab-debian-12/files/{source.sha256}/{source.file}")[2] == data
        assert ask(port, f"/lab-debian-12/apt/{BUNDLE_KEY}")[2] == b"a key"


def test_a_layer_that_images_share_is_found_with_each_of_them(tmp_path: Path) -> None:
    data = {"manifest": b"{}", "layer": b"a layer", "other manifest": b"{ }"}
    parts = [
        artefact("x-manifest", data["manifest"], kind="image", image="a.example/x", media_type="application/json"),
        artefact("x-layer", data["layer"], kind="image", image="a.example/x"),
        artefact("y-manifest", data["other manifest"], kind="image", image="b:5/y", media_type="application/json"),
    ]
    bundle, lock = Bundle(tmp_path / "b"), Lock(profile="lab", distribution="debian-12", artefacts=tuple(parts))
    write_whole(bundle.lock_file(lock.name), lock.text.encode())
    bundle.sign(SigningKey.kept_in(tmp_path / "key"), own=[lock.name])
    found = table(bundle, bundle.signed()[0])
    for image in ("a.example/x", "b-5/y"):
        assert f"/v2/lab-debian-12/{image}/blobs/sha256:{parts[1].sha256}" in found


def test_tls_is_declined_at_once_in_the_words_that_dockers_client_knows(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a hello, and no line's end
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    assert ask(port, FILE)[0] == 200
