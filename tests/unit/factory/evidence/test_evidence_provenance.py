"""The signed statement: made of the bill and the receipt, checked without us, and no byte of it can be another."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from made_inventories import COMMIT, DIGESTS, RECEIPT, inventory
from verb_command import boxwright

from boxwright.errors import BadInputError, BoxwrightError
from boxwright.factory.evidence.envelope import PAYLOAD_TYPE, encoded, open_envelope, seal
from boxwright.factory.evidence.examination import examine
from boxwright.factory.evidence.files import evidence_files
from boxwright.factory.evidence.names import BILL, PROVENANCE
from boxwright.factory.evidence.names import RECEIPT as RECEIPT_FILE
from boxwright.model.catalogues import load_models
from boxwright.signing import ForgedError, SigningKey


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.kept_in(tmp_path / "signing")


@pytest.fixture
def folder(tmp_path: Path, key: SigningKey) -> Path:
    """The evidence of a box."""
    there = tmp_path / "box-1"
    there.mkdir()
    for name, data in evidence_files(inventory(), "box-1", load_models(), key).items():
        (there / name).write_bytes(data)
    return there


def stated(folder: Path) -> dict[str, Any]:
    return open_envelope((folder / PROVENANCE).read_bytes()).statement


def test_it_states_who_built_what_from_what(folder: Path) -> None:
    told = stated(folder)
    assert (told["_type"], told["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    subjects = {one["name"]: one["digest"]["sha256"] for one in told["subject"]}
    assert subjects == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (BILL, RECEIPT_FILE)}
    definition, details = told["predicate"]["buildDefinition"], told["predicate"]["runDetails"]
    assert definition["externalParameters"] == {
        "host": "box-1", "profile": "8x4090", "site": "acme", "stages": ["base", "gateway"],
    }  # fmt: skip
    assert details["builder"] == {"id": "urn:boxwright:controller:ada@bench", "version": {"boxwright": "0.1.0"}}
    assert details["metadata"] == {
        "invocationId": RECEIPT["run"], "startedOn": RECEIPT["started_at"], "finishedOn": RECEIPT["provisioned_at"],
    }  # fmt: skip


def test_what_went_into_it_has_its_digests(folder: Path) -> None:
    materials = stated(folder)["predicate"]["buildDefinition"]["resolvedDependencies"]
    ours, *others = materials
    assert (ours["name"], ours["digest"]) == ("boxwright", {"gitCommit": COMMIT})
    digests = {one["uri"]: one.get("digest", {}).get("sha256") for one in others}
    assert digests["pkg:huggingface/Qwen/Qwen3-30B-A3B#model-1.safetensors"] == DIGESTS["weights"]
    assert digests["pkg:pypi/typing-extensions@4.15.0"] is None  # its archive is gone, and nothing is made up
    assert DIGESTS["deb"] in digests.values()


def test_a_modified_source_and_a_twin_are_told(key: SigningKey) -> None:
    changed = json.dumps(RECEIPT | {"source_revision": f"{COMMIT} modified"})
    files = evidence_files(inventory(receipt=changed, twin=True), "box-1", load_models(), key)
    definition = open_envelope(files[PROVENANCE]).statement["predicate"]["buildDefinition"]
    assert definition["resolvedDependencies"][0]["annotations"] == {"workingTree": "modified"}
    assert definition["resolvedDependencies"][0]["digest"] == {"gitCommit": COMMIT}
    assert definition["externalParameters"]["twin"].startswith("SIMULATED")


@pytest.mark.parametrize("receipt", ["", "{", "[]"])
def test_nothing_is_stated_of_a_box_without_a_receipt(key: SigningKey, receipt: str) -> None:
    with pytest.raises(BoxwrightError, match="nobody knows how it was built"):
        evidence_files(inventory(receipt=receipt), "box-1", load_models(), key)


def test_the_same_box_and_key_give_the_same_bytes(key: SigningKey) -> None:
    one, other = (evidence_files(inventory(), "box-1", load_models(), key) for _ in range(2))
    assert one == other


def test_openssl_accepts_the_signature_of_what_dsse_says_is_signed(folder: Path, key: SigningKey) -> None:
    told = json.loads((folder / PROVENANCE).read_bytes())
    payload, signature = (base64.b64decode(one) for one in (told["payload"], told["signatures"][0]["sig"]))
    public = Ed25519PublicKey.from_public_bytes(key.public.raw)
    (folder / "key.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (folder / "sig").write_bytes(signature)
    kind = PAYLOAD_TYPE.encode()
    signed = b" ".join((b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload))
    (folder / "signed").write_bytes(signed)
    words = (
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "key.pem",
        "-rawin",
        "-in",
        "signed",
        "-sigfile",
        "sig",
    )
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stdout.strip()) == (0, "Signature Verified Successfully")


def test_no_byte_of_the_envelope_can_be_another(folder: Path) -> None:
    data = (folder / PROVENANCE).read_bytes()
    open_envelope(data)
    dice = random.Random(11)  # noqa: S311 - no secret
    places = {0, 1, len(data) - 1, len(data) - 2, data.index(b"keyid") + 12, data.index(b'"sig"') + 90}
    for place in sorted(places | {dice.randrange(len(data)) for _ in range(300)}):
        forged = bytearray(data)
        forged[place] ^= 1 << dice.randrange(7)
        with pytest.raises(ForgedError):
            open_envelope(bytes(forged))
    for forged in (data + b"\n", b" " + data, data[:-1], b"", b"[]", b"{}", b"null"):
        with pytest.raises(ForgedError):
            open_envelope(forged)


def test_a_signature_for_another_type_is_none_for_this(key: SigningKey) -> None:
    sealed = json.loads(seal({"_type": "x"}, key))
    payload = base64.b64decode(sealed["payload"])
    sealed["signatures"][0]["sig"] = base64.b64encode(key.sign_bare(encoded("text/plain", payload))).decode()
    with pytest.raises(ForgedError, match="not of this file"):
        open_envelope(json.dumps(sealed).encode())
    sealed["payloadType"] = "text/plain"
    with pytest.raises(ForgedError, match="text/plain"):
        open_envelope(json.dumps(sealed).encode())


@pytest.mark.parametrize("payload", [b"no JSON", b"\xff", b"[]", b"[" * 100_000])
def test_what_is_signed_and_no_statement_is_refused(folder: Path, key: SigningKey, payload: bytes) -> None:
    """Whoever wants to can sign anything by a key of his own."""
    signature = base64.b64encode(key.sign_bare(encoded(PAYLOAD_TYPE, payload))).decode()
    told = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key.public.line, "sig": signature}],
    }
    (folder / PROVENANCE).write_text(json.dumps(told, sort_keys=True, separators=(",", ":")) + "\n")
    with pytest.raises(ForgedError, match="what is signed is no statement"):
        examine(folder)
    with pytest.raises(ForgedError, match="no envelope"):
        open_envelope(payload)


@pytest.mark.parametrize(
    "predicate",
    [
        [],
        {"buildDefinition": 1},
        {"buildDefinition": {"externalParameters": "x", "resolvedDependencies": [1, {"name": "boxwright"}]}},
        {"buildDefinition": {"resolvedDependencies": {}}, "runDetails": {"builder": "x", "metadata": None}},
    ],
)
def test_a_statement_of_another_builder_is_told_as_far_as_it_is_understood(
    folder: Path, key: SigningKey, predicate: Any
) -> None:
    (folder / PROVENANCE).write_bytes(seal({**stated(folder), "predicate": predicate}, key))
    ran = boxwright("evidence.check", str(folder), "--json")
    assert ran.code == 0, ran.told
    (told,) = ran.kind("evidence")
    assert (told["valid"], told["built_by"], told["boxwright"]) == (True, "", "")


@pytest.mark.parametrize("name", [BILL, RECEIPT_FILE])
def test_a_flipped_byte_of_a_file_beside_it_is_found(folder: Path, name: str) -> None:
    examined = examine(folder)
    assert (sorted(examined.held), examined.absent) == ([RECEIPT_FILE, BILL], ())
    assert examine(folder / name) == examined  # who names the file means the statement about it
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ForgedError, match=name):
        examine(folder / PROVENANCE)
    (folder / name).unlink()
    assert examine(folder / PROVENANCE).absent == (name,)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", ".", "", "a\0b"])
def test_a_statement_that_points_out_of_its_folder_is_refused(folder: Path, key: SigningKey, name: str) -> None:
    told = stated(folder)
    told["subject"][0]["name"] = name
    (folder / PROVENANCE).write_bytes(seal(told, key))
    with pytest.raises(ForgedError, match="no file beside it"):
        examine(folder)


def test_another_key_than_the_signers_is_told(folder: Path, key: SigningKey, tmp_path: Path) -> None:
    assert examine(folder, key.public.fingerprint).key == key.public
    stranger = SigningKey.kept_in(tmp_path / "stranger")
    with pytest.raises(ForgedError, match="another key"):
        examine(folder, stranger.public.fingerprint)


def test_what_is_no_evidence_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot read it"):
        examine(tmp_path)


def test_the_verb_tells_the_verdict_by_its_exit_code(folder: Path, tmp_path: Path, key: SigningKey) -> None:
    public = tmp_path / "signing/ed25519.pub"
    good = boxwright("evidence.check", str(folder), "--signer", str(public))
    assert (good.code, "VALID" in good.out, "warning" in good.told) == (0, True, False)
    (folder / BILL).write_bytes((folder / BILL).read_bytes().replace(b"nvidia", b"nvidja", 1))
    bad = boxwright("evidence.check", str(folder))
    assert bad.code == 1
    assert f"INVALID: {BILL} is not the one" in bad.told
    assert boxwright("evidence.check", str(tmp_path / "nowhere")).code == 4
