"""Signatures that OpenSSH itself accepts, and of which no byte can be another."""

from __future__ import annotations

import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from boxwright.errors import BadInputError
from boxwright.signing import BUNDLE_NAMESPACE, NAMESPACE, ForgedError, SigningKey, read_public_key, verify

DATA = b'{"what": "was found"}\n'


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.kept_in(tmp_path / "signing")


def ssh_keygen(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["ssh-keygen", *words], input=stdin, capture_output=True, check=False, timeout=20)


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path, key: SigningKey) -> None:
    path = tmp_path / "signing/ed25519"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert SigningKey.kept_in(path.parent).public == key.public
    assert sorted(file.name for file in path.parent.iterdir()) == ["ed25519", "ed25519.pub"]
    told = ssh_keygen("-l", "-f", str(path.with_suffix(".pub"))).stdout.decode()
    assert key.public.fingerprint in told.split()
    assert "ED25519" in told


def test_of_keys_that_are_made_at_once_one_stays(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: SigningKey.kept_in(tmp_path / "signing").public, range(16)))
    assert len(set(keys)) == 1


def test_openssh_accepts_our_signatures_and_we_accept_its(tmp_path: Path, key: SigningKey) -> None:
    signature = tmp_path / "data.sig"
    signature.write_text(key.sign(DATA))
    words = ("-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(signature))
    good = ssh_keygen(*words, stdin=DATA)
    assert good.returncode == 0, good.stderr
    assert key.public.fingerprint in good.stdout.decode()
    assert ssh_keygen(*words, stdin=DATA + b" ").returncode != 0

    private = tmp_path / "signing/ed25519"
    made = ssh_keygen("-Y", "sign", "-n", NAMESPACE, "-f", str(private), stdin=DATA).stdout.decode()
    assert made == key.sign(DATA), "ed25519 signs the same bytes in one way alone"
    assert verify(DATA, made) == key.public


def test_every_byte_of_data_and_signature_counts(key: SigningKey) -> None:
    signature = key.sign(DATA)
    assert verify(DATA, signature) == key.public
    for place in range(len(DATA)):
        with pytest.raises(ForgedError):
            verify(DATA[:place] + bytes([DATA[place] ^ 1]) + DATA[place + 1 :], signature)
    for place in range(len(signature)):
        for other in (chr(ord(signature[place]) ^ 1), ""):
            with pytest.raises(ForgedError):
                verify(DATA, signature[:place] + other + signature[place + 1 :])


def test_a_signature_for_something_else_is_none(tmp_path: Path, key: SigningKey) -> None:
    private = tmp_path / "signing/ed25519"
    for_git = ssh_keygen("-Y", "sign", "-n", "git", "-f", str(private), stdin=DATA).stdout.decode()
    with pytest.raises(ForgedError, match="not one of a boxwright-certificate"):
        verify(DATA, for_git)


def test_a_key_that_others_read_or_that_is_none_signs_nothing(tmp_path: Path, key: SigningKey) -> None:
    path = tmp_path / "signing/ed25519"
    path.chmod(0o640)
    with pytest.raises(BadInputError, match="others may read"):
        SigningKey.kept_in(path.parent)
    path.chmod(0o600)
    rsa = generate_private_key(public_exponent=65537, key_size=2048)
    for content in (b"", b"no key", rsa.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())):
        path.write_bytes(content)
        with pytest.raises(BadInputError, match="no private key of ed25519"):
            SigningKey.kept_in(path.parent)


@pytest.mark.parametrize("text", ["", "ssh-rsa AAAA", "ssh-ed25519 !!!", "ssh-ed25519 AAAA"])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no public key"):
        read_public_key(text)


def test_what_was_signed_for_one_purpose_is_nothing_for_another(key: SigningKey) -> None:
    signature = key.sign(DATA, BUNDLE_NAMESPACE)
    assert verify(DATA, signature, BUNDLE_NAMESPACE) == key.public
    with pytest.raises(ForgedError, match="not one of a boxwright-certificate"):
        verify(DATA, signature)
