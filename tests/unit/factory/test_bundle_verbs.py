"""bundle.diff, .serve and .clean as a person runs them, on bundles of a few small files."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from factory.bundles import artefact
from verb_command import Ran, boxwright

from boxwright.errors import Exit
from boxwright.factory.apt_lists import write_lists
from boxwright.factory.bundle import Bundle
from boxwright.factory.lock import Artefact, Lock
from boxwright.model.catalogues import load_site
from boxwright.places import ROOT
from boxwright.signing import SigningKey
from boxwright.whole_files import write_whole

FIRMWARE = b"of a board"
SHARED, OLD, NEW = b"in both locks", b"in the older alone", b"in the newer alone"


def lock_of(distribution: str, *more: Artefact, **wheels: bytes) -> Lock:
    own = (artefact(name, data, version=data.decode().split()[-1]) for name, data in wheels.items())
    return Lock.model_validate({"profile": "lab", "distribution": distribution, "artefacts": (*own, *more)})


@pytest.fixture(autouse=True)
def _narrow_console(own_places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Of two locks that have a file in common, as somebody else signed it."""
    made = Bundle(tmp_path / "bundle")
    locks = lock_of("debian-12", shared=SHARED, own=OLD), lock_of("debian-13", shared=SHARED, own=NEW)
    for lock in locks:
        put(made, lock, SHARED, OLD, NEW)
    made.sign(SigningKey.kept_in(tmp_path / "fetcher"), own=[lock.name for lock in locks])
    return Bundle(made.folder)


def put(bundle: Bundle, lock: Lock, *contents: bytes) -> None:
    """What `bundle.fetch` leaves of a lock, but for the signature."""
    for data in contents:
        if (one := artefact("x", data)).sha256 in {each.sha256 for each in lock.artefacts}:
            write_whole(bundle.artefact(one.sha256), data)
    write_lists(bundle, lock)
    write_whole(bundle.lock_file(lock.name), lock.text.encode())


def stored(bundle: Bundle) -> set[bytes]:
    return {path.read_bytes() for path in (bundle.folder / "sha256").rglob("*") if path.is_file()}


def everything(bundle: Bundle) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in bundle.folder.rglob("*") if path.is_file()}


def cleaned(bundle: Bundle, *words: str) -> Ran:
    return boxwright("bundle.clean", "--bundle", str(bundle.folder), *words)


def test_clean_removes_what_no_lock_names_and_nothing_unasked(bundle: Bundle) -> None:
    nothing = cleaned(bundle, "--yes")
    assert (nothing.code, "Nothing to remove: every file belongs to a lock." in nothing.told) == (Exit.OK, True)
    stranger, part = bundle.artefact("ab" * 32), bundle.folder / "sha256/ab/.left-of-a-fetch"
    write_whole(stranger, b"of nobody's")
    write_whole(part, b"half")
    before = everything(bundle)
    asked = cleaned(bundle)  # nobody is there to answer
    assert asked.code != Exit.OK
    assert everything(bundle) == before
    ran = cleaned(bundle, "--yes", "--json")
    assert ran.code == Exit.OK, ran.told
    (told,) = ran.kind("cleaned")
    assert (told["files"], told["bytes"], told["locks"]) == (2, 15, [])
    assert everything(bundle) == {name: data for name, data in before.items() if data not in (b"of nobody's", b"half")}


def test_clean_keeps_a_lock_with_all_that_it_names_and_signs_again(bundle: Bundle) -> None:
    fetcher = bundle.signed()[1].fingerprint
    ran = cleaned(bundle, "--keep", "lab-debian-13", "--yes")
    assert ran.code == Exit.OK, ran.told
    assert "Removed 1 file, 0.0 MB, and the lock lab-debian-12." in ran.told
    assert stored(bundle) == {SHARED, NEW}
    assert not bundle.lists("lab-debian-12").exists()
    assert list(Bundle(bundle.folder).locks) == ["lab-debian-13"]
    own = Bundle(bundle.folder).signed()[1].fingerprint
    assert own != fetcher
    assert f"signed by {own}, and no longer by {fetcher}" in ran.told
    valid = boxwright("bundle.verify", "--bundle", str(bundle.folder), "--signer", own)
    assert valid.code == Exit.OK, valid.told
    assert "VALID: lab-debian-13" in valid.told
    assert "Nothing to remove" in cleaned(bundle, "--keep", "lab-debian-13", "--yes").told


def test_clean_touches_nothing_of_a_bundle_that_is_not_what_was_signed(bundle: Bundle) -> None:
    mistaken = cleaned(bundle, "--keep", "lab-debian13", "--yes")
    assert mistaken.code == Exit.BAD_INPUT
    assert "no lock 'lab-debian13'. Did you mean 'lab-debian-13'?" in mistaken.told
    path = bundle.lock_file("lab-debian-12")  # with a lock that somebody shortened, all else would look superfluous
    write_whole(path, lock_of("debian-12", shared=SHARED).text.encode())
    before = everything(bundle)
    ran = cleaned(bundle, "--yes")
    assert ran.code == Exit.ERROR
    assert "lock lab-debian-12" in ran.told
    assert everything(bundle) == before


def test_clean_drops_a_lock_that_is_no_longer_whole(bundle: Bundle) -> None:
    """Such as one that a clean was dropping when it was killed, or that can be had no more."""
    bundle.lock_file("lab-debian-12").unlink()
    shutil.rmtree(bundle.lists("lab-debian-12"))
    bundle.lock_file("lab-debian-12-old").write_text("of nobody's, and no lock")
    assert cleaned(bundle, "--yes").code == Exit.ERROR
    ran = cleaned(bundle, "--keep", "lab-debian-13", "--yes")
    assert ran.code == Exit.OK, ran.told
    assert "the locks lab-debian-12, lab-debian-12-old" in ran.told
    assert stored(bundle) == {SHARED, NEW}
    valid = boxwright("bundle.verify", "--bundle", str(bundle.folder))
    assert (valid.code, "VALID: lab-debian-13" in valid.told) == (Exit.OK, True), valid.told


def test_clean_keeps_no_lock_that_is_no_longer_whole(bundle: Bundle) -> None:
    write_whole(bundle.lock_file("lab-debian-13"), lock_of("debian-13", shared=SHARED).text.encode())
    before = everything(bundle)
    ran = cleaned(bundle, "--keep", "lab-debian-13", "--yes")
    assert (ran.code, "lock lab-debian-13" in ran.told) == (Exit.ERROR, True)
    assert everything(bundle) == before


def fetched(bundle: Bundle, lock: Lock) -> Ran:
    """A bundle.fetch of a lock whose artefacts are all there."""
    file = bundle.folder.parent / f"{lock.name}.lock.json"
    file.write_text(lock.text)
    return boxwright("bundle.fetch", "--lock", str(file), "--bundle", str(bundle.folder), "--site", "lab")


def test_fetch_signs_for_its_own_lock_and_for_no_change_of_another(bundle: Bundle) -> None:
    older, newer = bundle.locks.values()
    fetcher = bundle.signed()[1].fingerprint
    lists = bundle.lists(newer.name) / "dists/platform/InRelease"
    write_whole(lists, lists.read_bytes() + b"\n")  # such as by whoever had the disk in his hands
    write_whole(
        bundle.lock_file(newer.name), lock_of("debian-13", shared=SHARED, own=b"of the devil 6.66").text.encode()
    )
    write_whole(bundle.lock_file("evil-debian-12"), newer.text.encode())
    ran = fetched(bundle, older)
    assert ran.code == Exit.OK, ran.told
    assert f"and no longer by {fetcher}" in ran.told
    verified = boxwright("bundle.verify", "--bundle", str(bundle.folder))
    assert verified.code == Exit.ERROR, verified.told
    damaged = {
        one["where"] for one in boxwright("bundle.verify", "--bundle", str(bundle.folder), "--json").kind("damage")
    }
    assert damaged == {
        f"locks/{newer.name}.json",
        f"apt/{newer.name}/dists/platform/InRelease",
        "locks/evil-debian-12.json",
    }
    bundle.lock_file("evil-debian-12").unlink()
    assert fetched(bundle, newer).code == Exit.OK
    valid = boxwright("bundle.verify", "--bundle", str(bundle.folder))
    assert (valid.code, "VALID: lab-debian-12, lab-debian-13" in valid.told) == (Exit.OK, True), valid.told


def test_diff_reads_like_a_changelog(tmp_path: Path) -> None:
    before, after, strange = tmp_path / "before.json", tmp_path / "after.json", tmp_path / "strange.json"
    before.write_text(lock_of("debian-12", page=b"page 1.0", gone=b"gone 2.0").text)
    after.write_text(lock_of("debian-12", page=b"page 1.1", come=b"come 3.0").text)
    strange.write_text(lock_of("debian-13", page=b"page 1.1", come=b"come 3.0").text)
    ran = boxwright("bundle.diff", str(before), str(after))
    assert ran.code == Exit.OK, ran.told
    lines = [line.strip() for line in ran.out.splitlines()]
    assert lines[0] == "Python wheels"
    assert {"~ page 1.0 → 1.1", "+ come 3.0 (open_webui)", "- gone 2.0"} <= set(lines)
    assert "3 changes; 0.0 MB to fetch." in ran.told
    (told,) = boxwright("bundle.diff", str(before), str(after), "--json").kind("difference")
    assert (told["changes"], told["bytes_to_fetch"]) == (3, 16)
    assert "No difference." in boxwright("bundle.diff", str(after), str(after)).told
    assert "locks of two things" in boxwright("bundle.diff", str(after), str(strange)).told
    wrong = boxwright("bundle.diff", str(before), str(tmp_path / "none.json"))
    assert (wrong.code, "no lock can be read: No such file" in wrong.told) == (Exit.BAD_INPUT, True)


def test_a_bundle_nearby_that_is_none_is_refused_before_all_is_fetched_by_a_line(
    bundle: Bundle, tmp_path: Path
) -> None:
    lock = str(bundle.lock_file("lab-debian-12"))
    words = ("bundle.fetch", "--lock", lock, "--bundle", str(tmp_path / "new"), "--near")
    ran = boxwright(*words, f"{bundle.folder},{tmp_path}")
    assert (ran.code, f"{tmp_path} is no bundle" in ran.told) == (Exit.BAD_INPUT, True)
    assert boxwright(*words, str(bundle.folder)).code == Exit.OK  # offline, as all of it is nearby


@pytest.fixture
def with_vendors(tmp_path: Path) -> Bundle:
    """Of a package of a vendor's, a wheel, a part of an image, and firmware."""
    folder = tmp_path / "deb"
    (folder / "DEBIAN").mkdir(parents=True)
    control = "Package: docker-ce\nVersion: 1.0\nArchitecture: amd64\nMaintainer: A <a@b.example>\nDescription: x\n"
    (folder / "DEBIAN/control").write_text(control)
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", folder, tmp_path / "x.deb"], check=True)
    data, layer = (tmp_path / "x.deb").read_bytes(), b"a layer of an image"
    of_vendor = {"kind": "debian", "archive": "docker", "path": "pool/x.deb", "used_by": ("platform",)}
    package = artefact("docker-ce", data, file="docker-ce_1.0_amd64.deb", **of_vendor)
    part = artefact("engine", layer, kind="image", image="registry.example:5000/engine", file="layer")
    bios = artefact("bios-X12", FIRMWARE, kind="firmware", version="2.4", file="X12.bin", used_by=("firmware",))
    lock, made = lock_of("debian-12", package, part, bios, own=OLD), Bundle(tmp_path / "vendors")
    put(made, lock, data, layer, FIRMWARE, OLD)
    made.sign(SigningKey.kept_in(tmp_path / "fetcher"), own=[lock.name])
    return Bundle(made.folder)


@contextmanager
def serving(bundle: Bundle, listen: str) -> Iterator[list[str]]:
    """What `bundle.serve` prints, while it serves."""
    words = ["bundle.serve", "--bundle", str(bundle.folder), "--listen", listen]
    # A shell starts its background jobs with SIGINT ignored, and so would be what the tests start.
    with subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-P", "-m", "boxwright.program", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        lines: list[str] = []
        for line in process.stdout:
            if "Ctrl-C" in line:
                break
            lines.append(line)
        try:
            yield lines
        finally:
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(20) == Exit.OK
            finally:
                process.kill()


def test_a_site_takes_what_serve_prints_and_finds_everything_there(with_vendors: Bundle, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving(with_vendors, f"127.0.0.1:{port}") as lines:
        begin = next(number for number, line in enumerate(lines) if line.startswith("# In the site of boxes"))
        assert "lab-debian-12" in lines[begin]
        site_file = tmp_path / "site.yml"
        printed = "".join(lines[begin:])
        assert set(yaml.safe_load(printed)) == {"bundle"}
        site_file.write_text(f"name: hall\nhosts:\n  - {{name: box-1, address: 192.0.2.7}}\n{printed}")
        site = load_site(str(site_file))
        told = site.bundle
        assert told
        assert told.url == f"http://127.0.0.1:{port}/lab-debian-12"
        assert (told.vendors, told.registries) == (("docker",), ("registry.example:5000",))
        behind = site.behind_its_bundle()
        assert behind.repositories.docker
        assert ask(behind.repositories.docker.key_url).decode().strip() == told.key
        assert b"Package: docker-ce" in ask(f"{told.url}/apt/dists/docker/main/binary-amd64/Packages")
        for one in with_vendors.locks["lab-debian-12"].artefacts:
            assert ask(told.file(one.sha256)) == with_vendors.artefact(one.sha256).read_bytes()
        (carried,) = [line.split()[-1] for line in lines if line.startswith("# supplied firmware bios-X12 2.4: ")]
        assert carried.endswith("/X12.bin")
        assert ask(carried) == FIRMWARE
        assert b"own-1.0-py3-none-any.whl" in ask(f"{behind.mirrors.python_index}/own/")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            ask(f"{told.url}/bundle.json")


def test_serve_tells_each_lock_its_own_address(with_vendors: Bundle, tmp_path: Path) -> None:
    bios = with_vendors.locks["lab-debian-12"].of("firmware")[0]
    put(with_vendors, lock_of("debian-13", bios, own=NEW), FIRMWARE, NEW)
    with_vendors.sign(SigningKey.kept_in(tmp_path / "fetcher"), own=["lab-debian-13"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving(with_vendors, f"127.0.0.1:{port}") as lines:
        urls = [line.split()[-1] for line in lines if line.startswith("  url: ")]
        carried = [line.split()[-1] for line in lines if line.startswith("# supplied firmware ")]
        assert urls == [f"http://127.0.0.1:{port}/lab-debian-{number}" for number in (12, 13)]
        assert [ask(url) for url in carried] == [FIRMWARE, FIRMWARE]


def ask(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  of a server of ours
        data: bytes = answer.read()
        return data


def test_serve_refuses_another_signer_and_a_place_that_is_none(with_vendors: Bundle) -> None:
    words = ("bundle.serve", "--bundle", str(with_vendors.folder))
    stranger = boxwright(*words, "--listen", "127.0.0.1", "--signer", f"SHA256:{'a' * 43}")
    assert (stranger.code, "signed by another key" in stranger.told) == (Exit.ERROR, True)
    for place in ("127.0.0.1:99999", "[::1"):
        wrong = boxwright(*words, "--listen", place)
        assert (wrong.code, "is not ADDRESS or ADDRESS:PORT" in wrong.told) == (Exit.BAD_INPUT, True)
    elsewhere = boxwright(*words, "--listen", "192.0.2.99:8999")
    assert elsewhere.code == Exit.BAD_INPUT, elsewhere.told
