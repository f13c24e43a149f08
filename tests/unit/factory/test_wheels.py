"""Which wheels a pinned list means on a box."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from boxwright.errors import BoxwrightError
from boxwright.factory.wheels import Index, Offer, Pinned, best, pinned, tags_of
from boxwright.model.site import Mirrors

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def test_lines_that_do_not_hold_on_the_box_are_left_out() -> None:
    text = f"""
Alpha_X==1.0 \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # via something
beta==2 ; python_full_version < '3.11.3' --hash=sha256:{A}
gamma==3 ; sys_platform == 'win32' --hash=sha256:{A}
delta==4+cpu ; python_full_version >= '3.11.3' --hash=sha256:{C}
"""
    lines = pinned(text, "3.11.2")
    assert [(one.name, one.version) for one in lines] == [("alpha-x", "1.0"), ("beta", "2")]
    assert lines[0].digests == {A, B}
    assert [one.name for one in pinned(text, "3.11.5")] == ["alpha-x", "delta"]


@pytest.mark.parametrize("line", ["alpha", "alpha>=1 --hash=sha256:" + A, "alpha==1", "alpha==1 ==2", "-r other.txt"])
def test_a_line_that_pins_nothing_is_refused(line: str) -> None:
    with pytest.raises(BoxwrightError):
        pinned(line, "3.11.2")


def offer(tags: str, sha256: str = A) -> Offer:
    return Offer(f"alpha-1.0-{tags}.whl", f"http://x.invalid/{tags}", sha256, 1)


def test_the_wheel_is_the_one_that_pip_would_take() -> None:
    wanted, tags = Pinned("alpha", "1.0", frozenset({A})), tags_of("debian-12")
    offers = [
        offer("py3-none-any"),
        offer("cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64"),
        offer("cp311-cp311-manylinux_2_28_x86_64"),
        offer("cp311-cp311-manylinux_2_39_x86_64"),
        offer("cp311-cp311-musllinux_1_2_x86_64"),
        offer("cp312-cp312-manylinux_2_28_x86_64"),
        offer("cp311-cp311-win_amd64"),
    ]
    chosen = best(offers, wanted, tags)
    assert chosen
    assert chosen.file == "alpha-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    newer = best(offers, wanted, tags_of("debian-13"))
    assert newer
    assert newer.file == "alpha-1.0-cp311-cp311-manylinux_2_39_x86_64.whl"


def test_a_wheel_that_nobody_pinned_is_never_taken() -> None:
    wanted, tags = Pinned("alpha", "1.0", frozenset({A})), tags_of("debian-12")
    assert best([offer("py3-none-any", B), Offer("alpha-1.0.tar.gz", "http://x.invalid", A, 1)], wanted, tags) is None


PAGES = {
    "/simple/alpha/": f'<a href="../../w/alpha-1.0-py3-none-any.whl#sha256={A}">x</a><a>no link</a>',
    "/simple/beta/": {
        "files": [{"filename": "beta-2-py3-none-any.whl", "url": "b.whl", "hashes": {"sha256": B}, "size": 7}]
    },
}


class _Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = PAGES.get(self.path)
        body = (page if isinstance(page, str) else json.dumps(page)).encode()
        self.send_response(404 if page is None else 200)
        self.send_header("Content-Type", "text/html" if isinstance(page, str) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "123")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def index() -> Iterator[Index]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mirrors = Mirrors(python_index=f"http://127.0.0.1:{server.server_address[1]}/simple", wheels=())
        with Index(mirrors) as index:
            yield index
        server.shutdown()


def test_sizes_and_digests_come_from_either_kind_of_index(index: Index) -> None:
    lines = [Pinned("alpha", "1.0", frozenset({A})), Pinned("beta", "2", frozenset({B}))]
    found = index.artefacts(lines, "debian-12", "open_webui")
    assert [(one.name, one.size, one.sha256) for one in found] == [("alpha", 123, A), ("beta", 7, B)]


@pytest.mark.parametrize("page", [[], {"files": [1]}, {"files": [{"filename": "x"}]}])
def test_what_answers_in_the_place_of_an_index_is_told(
    index: Index, monkeypatch: pytest.MonkeyPatch, page: object
) -> None:
    monkeypatch.setitem(PAGES, "/simple/odd/", page)
    with pytest.raises(BoxwrightError, match=r"/simple/odd/: the Python index answers with no list of files"):
        index.offers("odd")


def test_what_was_withdrawn_is_named_and_all_of_it(index: Index) -> None:
    lines = [Pinned(name, "9.9", frozenset({C})) for name in ("alpha", "gone")]
    with pytest.raises(BoxwrightError, match=r"for debian-12: alpha 9\.9, gone 9\.9") as caught:
        index.artefacts(lines, "debian-12", "open_webui")
    assert "127.0.0.1" not in str(caught.value)
