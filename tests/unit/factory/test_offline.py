"""A bundle is for the profile that it was locked for, as it is now."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from factory.bundles import made_bundle

from boxwright.errors import BadInputError, BoxwrightError, UnreachableError
from boxwright.factory import kept_locks
from boxwright.factory import offline as offline_module
from boxwright.factory import reading as reading_module
from boxwright.factory.bundle import Bundle
from boxwright.factory.lock import Artefact, Lock
from boxwright.factory.locking import merged
from boxwright.factory.needs import needs_of
from boxwright.factory.offline import (
    Door,
    address_towards,
    checked,
    from_bundle,
    offline,
    refuse_lacking,
)
from boxwright.factory.serving import serving
from boxwright.lab.vendors.repository import KEY
from boxwright.lab.vendors.repository import build as build_repository
from boxwright.model.debian_packages import BUNDLE_KEY
from boxwright.model.site import Host, Site
from boxwright.provisioning.target import Choice, choose
from boxwright.signing import SigningKey
from boxwright.whole_files import write_whole

StandIn = Callable[[str, str], None]


def whole_lock() -> Lock:
    """A lock that has what the lab needs, as far as names and digests go."""
    needs = needs_of(choose(Choice(profile="lab")), "debian-12")
    made, number = [], 0

    def add(**fields: object) -> None:
        nonlocal number
        number += 1
        common = {"size": 1, "sha256": f"{number:064x}", "file": "f", "version": "3.11.2-1"}
        made.append(Artefact.model_validate(common | fields))

    for name in needs.packages:
        add(kind="debian", name=name, used_by=("platform",), archive="debian", path=f"pool/{name}.deb")
    for unpacked in needs.unpacked:
        for name in unpacked.packages:
            add(kind="debian", name=name, used_by=(unpacked.name,), archive="debian", path=f"pool/u/{name}.deb")
    from boxwright.factory.wheels import pinned

    for environment in needs.environments:
        for line in pinned(environment.requirements, "3.11.2"):
            add(kind="wheel", name=line.name, used_by=(environment.name,), sha256=min(line.digests))
    for build in needs.builds:
        for file in build.files:
            add(kind="model", name=f"{build.name}/{file.name}", used_by=("models",), sha256=file.sha256)
    return Lock(profile="lab", distribution="debian-12", artefacts=merged(made))


WHOLE = whole_lock()


def test_a_lock_with_all_that_is_needed_will_do() -> None:
    refuse_lacking(Bundle(Path("b")), WHOLE, needs_of(choose(Choice(profile="lab")), "debian-12"))


@pytest.mark.parametrize("name", ["nginx", "llama.cpp-tools", "open-webui", "python3-pip-whl"])
def test_what_a_lock_lacks_is_named(name: str) -> None:
    lock = WHOLE.model_copy(update={"artefacts": tuple(one for one in WHOLE.artefacts if one.name != name)})
    with pytest.raises(BadInputError, match=f"it lacks .*{name}"):
        refuse_lacking(Bundle(Path("b")), lock, needs_of(choose(Choice(profile="lab")), "debian-12"))


def test_a_lock_of_another_profile_or_release_is_no_help(tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "b", tmp_path / "key")
    for choice, wanted in ((Choice("lab-vllm"), "lab-vllm-debian-12"), (Choice("lab", distribution="debian-13"), "13")):
        with (
            pytest.raises(BadInputError, match=f"no lock of .*{wanted}; it has lab-debian-12"),
            offline(bundle.folder, choose(choice), "", print),
        ):
            pass


def test_a_bundle_that_somebody_else_signed_is_refused_before_anything(tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "b", tmp_path / "key")
    other = SigningKey.kept_in(tmp_path / "other").public.fingerprint
    with pytest.raises(BoxwrightError, match="INVALID bundle: it is signed by another key"):
        checked(bundle, other, print)


def test_a_bundle_that_is_opened_names_itself_and_its_lock_is_kept(
    tmp_path: Path, own_places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline_module, "serving", partial(serving, port=0))  # whatever else runs here
    bundle = made_bundle(tmp_path / "b", tmp_path / "key")
    (tmp_path / "r").mkdir()
    build_repository(tmp_path / "r", [])
    write_whole(bundle.lists("lab-debian-12") / BUNDLE_KEY, (tmp_path / "r" / KEY).read_bytes())
    key = SigningKey.kept_in(tmp_path / "key")
    bundle.sign(key)
    signed, (lock,) = bundle.signed(), bundle.locks.values()
    fleet = choose(Choice(profile="lab"))
    site = fleet.site.model_copy(update={"hosts": (Host(name="twin-1", address="127.0.0.1"),)})
    with ExitStack() as stack:
        door = Door(bundle, signed, {lock.distribution: lock}, fleet, stack=stack, progress=print)
        assert door.used is None
        behind = door(site)
        assert behind.bundle is not None
        assert behind.bundle.url.endswith("/lab-debian-12")
    assert door.used is not None
    digest = hashlib.sha256(bundle.lock_file("lab-debian-12").read_bytes()).hexdigest()
    assert (door.used.lock, door.used.name, door.used.signing_key) == (digest, lock.name, key.public.fingerprint)
    assert door.used.signed_at == signed[0].signed_at != ""
    assert kept_locks.find(digest) == lock
    (kept,) = (own_places / "locks").iterdir()
    kept.write_text(lock.text.replace("alpha", "alpho"))  # it is no longer the one that receipts name
    assert kept_locks.find(digest) is None
    kept_locks.keep(lock)  # the next run out of the bundle has the true one again
    assert kept_locks.find(digest) == lock


@pytest.mark.parametrize(
    ("version", "hint"),
    [("13", "--distribution debian-13"), ("24.04", "Locks are of debian-12 and debian-13 alone")],
)
def test_boxes_that_run_what_no_lock_is_of_are_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, hint: str
) -> None:
    found = f"{'debian' if version == '13' else 'ubuntu'}-{version}"
    monkeypatch.setattr(offline_module, "_distribution", lambda *_: found)  # as real boxes would tell
    bundle, fleet = made_bundle(tmp_path / "b", tmp_path / "key"), choose(Choice(profile="lab"))
    with ExitStack() as stack:
        door = Door(bundle, bundle.signed(), {"debian-12": WHOLE}, fleet, stack=stack, progress=print)
        with pytest.raises(BadInputError, match=f"has lab-debian-12, and the boxes run {found}") as raised:
            door(fleet.site)
    assert hint in raised.value.hint


SSH = """
[[ "${@: -2:1}" = here ]] && eval "exec ${!#}"
echo 'ssh: connect to host gone port 22: No route to host' >&2; exit 255
"""


def test_a_box_that_does_not_answer_keeps_the_others_from_no_bundle(stand_in: StandIn, own_places: Path) -> None:
    stand_in("ssh", SSH)  # `here` is the machine that runs the tests
    hosts = tuple(Host(name=name, address=name) for name in ("gone", "here", "lost"))
    site = Site(name="s", hosts=hosts)
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    runs = f"{release['ID']}-{release['VERSION_ID']}".replace('"', "")
    assert offline_module._distribution(site, hosts) == runs
    with pytest.raises(UnreachableError, match=r"none of 2 boxes can be asked .* of the first: ssh did not get in"):
        offline_module._distribution(site, (hosts[0], hosts[2]))


def test_the_reading_of_a_bundle_tells_how_far_it_is(
    tmp_path: Path, own_places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_module, "TELL_EVERY_S", 0)
    bundle, told = Bundle(tmp_path / "b"), list[str]()
    for lock in (WHOLE, WHOLE.model_copy(update={"distribution": "debian-13"})):
        write_whole(bundle.lock_file(lock.name), lock.text.encode())
    bundle.sign(SigningKey.kept_in(tmp_path / "key"), own=["lab-debian-12", "lab-debian-13"])
    fleet = choose(Choice(profile="lab"))
    fleet = fleet.model_copy(update={"site": fleet.site.model_copy(update={"twin": None})})
    with (
        pytest.raises(BoxwrightError, match=r"the bundle is damaged.*missing"),
        offline(bundle.folder, fleet, "", told.append),
    ):
        pass
    read = [line for line in told if line.endswith("%)")]
    assert (len(read), read[-1]) == (len(WHOLE.artefacts), "0.0 MB of 0.0 MB (100 %)")  # not twice, for two locks


def test_a_signer_of_nothing_is_refused() -> None:
    fleet = choose(Choice(profile="lab"))
    with pytest.raises(BadInputError, match="say --bundle, too"), from_bundle("", fleet, "SHA256:x", print):
        pass
    with from_bundle("", fleet, "", print) as door:
        assert door is None


def test_the_address_is_the_one_that_the_box_sees() -> None:
    assert address_towards("127.0.0.1") == "127.0.0.1"
    with pytest.raises(BadInputError, match="no route to no-such-host"):
        address_towards("no-such-host.invalid")
