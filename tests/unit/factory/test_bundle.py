"""A bundle tells every byte that is not as it was, and what it belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest
from factory.bundles import CONTENTS, lock_of, made_bundle

from boxwright.errors import BadInputError, BoxwrightError
from boxwright.factory.bundle import Bundle
from boxwright.factory.offline import refuse_damaged
from boxwright.signing import ForgedError, SigningKey


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return made_bundle(tmp_path / "bundle", tmp_path / "key")


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_what_is_as_it_was_is_whole(bundle: Bundle) -> None:
    manifest, _ = bundle.signed()
    told: list[tuple[int, int]] = []
    assert bundle.damages(manifest, lambda done, total: told.append((done, total))) == []
    total = sum(map(len, CONTENTS.values()))
    assert told[-1] == (total, total)
    assert bundle.strangers() == []


@pytest.mark.parametrize("name", list(CONTENTS))
def test_one_flipped_bit_anywhere_is_found_and_named(bundle: Bundle, name: str) -> None:
    one = next(one for one in lock_of().artefacts if one.name == name)
    for at in (0, one.size // 2, one.size - 1):
        flip(bundle.artefact(one.sha256), at)
        (damage,) = bundle.damages(bundle.signed()[0])
        assert damage.what == f"Python wheel {name} 1.0 (lab-debian-12)"
        assert damage.where == f"sha256/{one.sha256[:2]}/{one.sha256}"
        with pytest.raises(BoxwrightError, match=f"nothing was changed on any box: Python wheel {name} 1.0"):
            refuse_damaged(bundle, bundle.damaged_locks([lock_of()]))
        flip(bundle.artefact(one.sha256), at)
    assert bundle.damages(bundle.signed()[0]) == []


def test_a_missing_and_a_shortened_file_are_told_apart(bundle: Bundle) -> None:
    alpha, beta, _ = lock_of().artefacts
    bundle.artefact(alpha.sha256).unlink()
    path = bundle.artefact(beta.sha256)
    path.write_bytes(path.read_bytes()[:-1])
    assert [one.how for one in bundle.damages(bundle.signed()[0])] == ["missing", "11999 bytes instead of 12000"]


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("locks/lab-debian-12.json", "lock lab-debian-12"),
        ("apt/lab-debian-12/dists/platform/InRelease", "list of Debian packages of lab-debian-12"),
    ],
)
def test_locks_and_lists_are_signed_too(bundle: Bundle, place: str, what: str) -> None:
    flip(bundle.folder / place, 5)
    (damage,) = bundle.damages(bundle.signed()[0])
    assert (damage.what, damage.where) == (what, place)


def test_a_lock_that_somebody_slipped_in_is_found(bundle: Bundle) -> None:
    (bundle.folder / "locks/evil-debian-12.json").write_text(lock_of().text)
    (damage,) = bundle.damages(bundle.signed()[0])
    assert damage.what == "file that nobody signed"


@pytest.mark.parametrize("name", ["bundle.json", "bundle.json.sig"])
def test_a_changed_list_or_signature_is_no_bundle(bundle: Bundle, name: str) -> None:
    flip(bundle.folder / name, 90)
    with pytest.raises(ForgedError):
        bundle.signed()


def test_another_signer_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    other = SigningKey.kept_in(tmp_path / "other").public.fingerprint
    with pytest.raises(ForgedError, match="signed by another key"):
        bundle.signed(other)
    assert bundle.signed(bundle.signed()[1].fingerprint)


def test_a_signed_place_outside_the_bundle_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    from boxwright.signing import BUNDLE_NAMESPACE

    for place in ("../x", "/etc/passwd", "locks/../../x", "apt/.hidden"):
        data = f'{{"format": 1, "files": {{"{place}": {{"size": 1, "sha256": "{"0" * 64}"}}}}}}'.encode()
        (bundle.folder / "bundle.json").write_bytes(data)
        signature = SigningKey.kept_in(tmp_path / "key").sign(data, BUNDLE_NAMESPACE)
        (bundle.folder / "bundle.json.sig").write_text(signature)
        with pytest.raises(ForgedError, match="no list of a bundle"):
            bundle.signed()


def test_a_folder_without_a_bundle_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no bundle"):
        Bundle(tmp_path).signed()


def test_what_no_lock_names_is_a_stranger(bundle: Bundle) -> None:
    stray = bundle.folder / "sha256/ff" / ("ff" + "0" * 62)
    stray.parent.mkdir()
    stray.write_bytes(b"x")
    assert bundle.strangers() == [stray]
