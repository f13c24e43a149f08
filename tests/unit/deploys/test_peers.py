"""Who has which file, and the door to it: one file, one address, one session; and nobody's death holds others up."""

from __future__ import annotations

import hashlib
import http.client
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploys.operations import peers
from deploys.operations.peers import ClosedError, Door, Registry

ROOT = Path(__file__).parents[3]
CONTENT = random.Random(5).randbytes(300_000)  # noqa: S311 - any bytes do
# In the place of systemd-run, where no systemd is: the program alone. The lab has the real one.
WITHOUT_SYSTEMD = 'while [[ $1 == --* ]]; do shift; done\nexec "$@"'


@pytest.fixture(autouse=True)
def own_port(monkeypatch: pytest.MonkeyPatch, stand_in: Callable[[str, str], None]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(peers, "PORT", port)
    stand_in("systemd-run", WITHOUT_SYSTEMD)
    return port


def a_door(path: Path, *enter: str, caller: str = "127.0.0.1") -> Door:
    peer = {"name": "box-1", "address": "127.0.0.1", "enter": list(enter or ("bash", "-c")), "sudo": False}
    return Door(peer, str(path), caller, 60)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "m.gguf"
    path.write_bytes(CONTENT)
    (tmp_path / "secret").write_text("of the box")
    return path


def got(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        asked = urllib.request.Request(url, headers=headers)  # noqa: S310 - http, from a door
        with urllib.request.urlopen(asked, timeout=5) as reply:  # noqa: S310
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def test_a_file_is_noted_for_others_and_not_for_oneself(tmp_path: Path) -> None:
    one, two = Registry(tmp_path / "r", "box-1"), Registry(tmp_path / "r", "box-2")
    assert two.holders("/srv/m") == []
    one.add("/srv/m")
    one.add("/srv/m")
    assert (one.holders("/srv/m"), two.holders("/srv/m")) == ([], ["box-1"])
    assert two.holders("/srv/n") == []
    assert (tmp_path / "r").stat().st_mode & 0o777 == 0o700


def test_one_at_a_time_brings_a_file_and_is_handed_something(tmp_path: Path) -> None:
    one, two = Registry(tmp_path, "box-1"), Registry(tmp_path, "box-2")
    with one.first("/srv/m") as mine, two.first("/srv/m") as theirs, two.first("/srv/n") as another:
        assert (mine, theirs, another) == (True, False, True)
    with two.first("/srv/m") as theirs, one.asking("box-3") as mine, two.asking("box-3") as second:
        assert (theirs, mine, second) == (True, True, False)


def test_who_dies_lets_go(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom deploys.operations.peers import Registry\n"
        "with Registry(Path(sys.argv[1]), 'box-1').first('/srv/m') as mine:\n    print(mine, flush=True)\n"
        "    time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert other.stdout
    assert other.stdout.readline() == "True\n"
    registry = Registry(tmp_path, "box-2")
    with registry.first("/srv/m") as mine:
        assert not mine
    other.kill()
    other.wait()
    with registry.first("/srv/m") as mine:
        assert mine


def test_a_door_gives_one_file_and_is_gone_afterwards(weights: Path) -> None:
    with a_door(weights).open() as url:
        status, content = got(url)
        assert (status, hashlib.sha256(content).digest()) == (200, hashlib.sha256(CONTENT).digest())
        assert got(url, Range="bytes=299990-") == (206, CONTENT[-10:])
        assert got(url, Range="bytes=300000-")[0] == 416
        base = url.rpartition("/")[0]
        for other in ("/", "/m.gguf", "/secret", "/../secret", "/%2e%2e/secret", f"/{weights}", f"/{weights.parent}/"):
            assert got(base + other)[0] == 404, other
        assert CONTENT not in got(f"{url}/..")[1]
    with pytest.raises(urllib.error.URLError):
        got(url)


def test_a_door_opens_to_one_address(weights: Path) -> None:
    with a_door(weights, caller="127.0.0.9").open() as url:
        place = urlsplit(url)
        assert place.hostname
        stranger = http.client.HTTPConnection(place.hostname, place.port, timeout=5)
        stranger.request("GET", place.path)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            stranger.getresponse()
        own = http.client.HTTPConnection(place.hostname, place.port, timeout=5, source_address=("127.0.0.9", 0))
        own.request("GET", place.path)
        assert own.getresponse().read() == CONTENT


def test_a_door_closes_when_its_caller_is_killed(weights: Path, own_port: int) -> None:
    program = (
        "import sys, time\nfrom deploys.operations import peers\npeers.PORT = int(sys.argv[2])\n"
        "peer = {'name': 'b', 'address': '127.0.0.1', 'enter': ['bash', '-c'], 'sudo': False}\n"
        "with peers.Door(peer, sys.argv[1], '127.0.0.1', 60).open() as url:\n"
        "    print(url, flush=True)\n    time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(weights), str(own_port)]
    controller = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert controller.stdout
    url = controller.stdout.readline().strip()
    assert got(url)[0] == 200
    controller.kill()
    controller.wait()
    for _ in range(50):
        try:
            got(url)
        except OSError:
            return
        time.sleep(0.1)
    pytest.fail("it is still served")


def test_a_door_that_nobody_comes_to_closes_by_itself(weights: Path, own_port: int) -> None:
    program = (ROOT / "templates/models/serve_file.py").read_text().replace("IDLE_S = 30", "IDLE_S = 1")
    command = [sys.executable, "-I", "-S", "-c", program, str(weights), "k", "127.0.0.1", str(own_port), "127.0.0.1"]
    door = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert door.stdout
    assert door.stdout.readline() == "open\n"
    assert got(f"http://127.0.0.1:{own_port}/k") == (200, CONTENT)
    assert door.wait(20) == 0


@pytest.mark.parametrize(
    ("enter", "why"),
    [
        (("false",), "ssh ended"),
        (("sh", "-c", "echo Permission denied; exit 255"), "Permission denied"),
        (("sh", "-c", "sleep 30"), "within"),
        (("sh", "-c", "echo the door cannot be open; sleep 30"), "within"),
    ],
)
def test_a_machine_that_does_not_open_is_told(
    weights: Path, enter: tuple[str, ...], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_OPENS_S", 0.5)
    monkeypatch.setattr(peers, "_CLOSES_S", 0.2)
    with pytest.raises(ClosedError, match=why), a_door(weights, *enter).open():
        pass


def test_a_machine_that_talks_without_end_is_listened_to_no_longer(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_CLOSES_S", 0.2)
    began = time.monotonic()
    with pytest.raises(ClosedError, match="says something else"), a_door(weights, "sh", "-c", "yes").open():
        pass
    assert time.monotonic() - began < 5


def test_a_file_that_is_not_there_is_told(weights: Path) -> None:
    with pytest.raises(ClosedError, match="No such file"), a_door(weights.with_name("n.gguf")).open():
        pass


def test_the_unit_may_do_nothing_else_and_ends_by_itself() -> None:
    script = a_door(Path("/srv/m"), caller="192.0.2.7").script()
    for wanted in ("DynamicUser=yes", "RuntimeMaxSec=60", "CapabilityBoundingSet=", "IPAddressAllow=192.0.2.7"):
        assert wanted in script
    assert f"ip saddr 192.0.2.7 tcp dport {peers.PORT} accept comment boxwright-hand-on" in script
    assert f"ip6 saddr fd00::7 tcp dport {peers.PORT}" in a_door(Path("/srv/m"), caller="fd00::7").script()
    assert "$" not in script.replace("$PATH", "")  # systemd would take it for a variable
