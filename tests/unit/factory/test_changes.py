"""The difference of two locks, as a changelog."""

from __future__ import annotations

from factory.bundles import artefact, lock_of

from boxwright.factory.changes import bytes_to_fetch, changes
from boxwright.factory.lock import Artefact, Lock


def lock(*artefacts: Artefact) -> Lock:
    return Lock(profile="lab", distribution="debian-12", artefacts=artefacts)


def told(before: Lock, after: Lock) -> list[str]:
    return [f"{one.sign} {one.name} {one.text}" for one in changes(before, after)]


def test_equal_locks_have_no_changes() -> None:
    assert told(lock_of(), lock_of()) == []
    assert bytes_to_fetch(lock_of(), lock_of()) == 0


def test_another_version_a_new_one_and_one_that_is_gone() -> None:
    stays = artefact("stays", b"1")
    before = lock(stays, artefact("nginx", b"22"), artefact("old", b"3"))
    after = lock(stays, artefact("nginx", b"4444", version="1.1"), artefact("new", b"55", version="2"))
    assert told(before, after) == ["+ new 2 (open_webui)", "~ nginx 1.0 → 1.1", "- old 1.0"]
    assert bytes_to_fetch(before, after) == 6


def test_the_same_version_with_other_bytes_is_no_small_thing() -> None:
    (line,) = told(lock(artefact("nginx", b"1")), lock(artefact("nginx", b"2")))
    assert line.startswith("~ nginx 1.0: other bytes (")


def test_what_is_used_for_something_else_is_told() -> None:
    before, after = artefact("nginx", b"1"), artefact("nginx", b"1", used_by=("vllm",))
    assert told(lock(before), lock(after)) == ["~ nginx 1.0: for vllm, and not for open_webui"]


def test_two_versions_side_by_side_are_not_taken_for_a_change_of_one() -> None:
    one, two, three = (artefact("nginx", data, version=data.decode()) for data in (b"1", b"2", b"3"))
    assert told(lock(one, two), lock(one, three)) == ["~ nginx 2 → 3"]
    assert told(lock(one), lock(one, two, three)) == ["+ nginx 2 (open_webui)", "+ nginx 3 (open_webui)"]
