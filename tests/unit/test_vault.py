"""Secrets are made once, kept encrypted, read from where the site says, and never shown by accident."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright import vault
from boxwright.errors import BadInputError
from boxwright.model.site import Host, Secrets, Site


@pytest.fixture(autouse=True)
def password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "password"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    monkeypatch.setenv("BOXWRIGHT_VAULT_PASSWORD_FILE", str(path))
    return path


def site(**secrets: str) -> Site:
    hosts = (Host(name="a", address="192.0.2.1"), Host(name="b", address="192.0.2.2"))
    return Site(name="s", hosts=hosts, secrets=Secrets(**secrets))


def test_made_once_and_different_for_each_host(tmp_path: Path) -> None:
    path = tmp_path / "secrets.vault"
    first = vault.resolve(site(), vault_path=path)
    assert vault.resolve(site(), vault_path=path) == first
    values = first["a"].values() + first["b"].values()
    assert len(set(values)) == len(values) == 10


def test_no_engine_is_given_a_key_that_reads_like_a_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter(["-dash-first", "word-1", "-dash-again", *(f"word-{number}" for number in range(2, 20))])
    monkeypatch.setattr(vault.secrets, "token_urlsafe", lambda _length: next(made))
    found = vault.resolve(site(), vault_path=tmp_path / "v")
    assert not [value for host in found.values() for value in host.values() if value.startswith("-")]


def test_an_old_key_of_an_engine_that_reads_like_a_flag_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "secrets.vault"
    first = vault.resolve(site(), vault_path=path)
    book = vault._decrypted(path)
    book["a"]["engine_key"] = "-dash-first-0123456789"
    vault._write(path, book)
    again = vault.resolve(site(), vault_path=path)
    assert again["a"].engine_key.get_secret_value()[0] != "-"
    assert again["b"] == first["b"]
    assert again["a"].api_key == first["a"].api_key


def test_the_file_is_private_and_encrypted(tmp_path: Path) -> None:
    path = tmp_path / "secrets.vault"
    found = vault.resolve(site(), vault_path=path)
    text = path.read_text()
    assert text.startswith("$ANSIBLE_VAULT;1.1;AES256")
    assert path.stat().st_mode & 0o777 == 0o600
    assert not any(value in text for value in found["a"].values())


def test_no_secret_in_a_repr(tmp_path: Path) -> None:
    found = vault.resolve(site(), vault_path=tmp_path / "v")
    assert not any(value in repr(found) for value in found["a"].values())


def test_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PASSWORD", "from the environment")
    (tmp_path / "key").write_text("from-a-file-0123456789\n")
    wanted = site(api_password="env:API_PASSWORD", engine_key=f"file:{tmp_path / 'key'}")
    found = vault.resolve(wanted, vault_path=tmp_path / "v")
    assert found["b"].api_password.get_secret_value() == "from the environment"
    assert found["b"].engine_key.get_secret_value() == "from-a-file-0123456789"


@pytest.mark.parametrize("reference", ["env:NOT_THERE_AT_ALL", "file:/not/there"])
def test_a_missing_secret_is_refused(tmp_path: Path, reference: str) -> None:
    with pytest.raises(BadInputError, match="api_key"):
        vault.resolve(site(api_key=reference), vault_path=tmp_path / "v")


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("api_key", "too-short", "16 characters"),
        ("engine_key", 'quote"and space in it', "16 characters"),
        ("engine_key", "-begins-with-a-dash-0123", "not beginning with a dash"),
        ("webui_admin_password", "short", "8 to 72 bytes"),
        ("api_password", "ä" * 40, "8 to 72 bytes"),
        ("api_password", "two lines\nof a password", "8 to 72 bytes"),
    ],
)
def test_a_secret_that_would_not_work_on_the_box_is_refused_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, rule: str
) -> None:
    monkeypatch.setenv("OWN", value)
    with pytest.raises(BadInputError) as refused:
        vault.resolve(site(**{name: "env:OWN"}), vault_path=tmp_path / "v")
    assert rule in refused.value.hint
    assert value not in refused.value.message + refused.value.hint


def test_another_password_does_not_open_it_and_loses_nothing(tmp_path: Path, password: Path) -> None:
    path = tmp_path / "secrets.vault"
    vault.resolve(site(), vault_path=path)
    before = path.read_bytes()
    password.write_text("wrong\n")
    with pytest.raises(BadInputError, match="does not open"):
        vault.resolve(site(), vault_path=path)
    assert path.read_bytes() == before


def test_a_password_file_that_others_may_read_is_refused(tmp_path: Path, password: Path) -> None:
    password.chmod(0o644)
    with pytest.raises(BadInputError, match="others may read"):
        vault.resolve(site(), vault_path=tmp_path / "v")


def test_a_hubs_token_is_read_where_the_site_has_it_and_made_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN_OF_THE_TEST", "hf_abc")
    (tmp_path / "token").write_text("ms-xyz\n")
    reading = site(huggingface_token="env:HF_TOKEN_OF_THE_TEST", modelscope_token=f"file:{tmp_path}/token")
    found = vault.resolve(reading, vault_path=tmp_path / "v")["a"]
    assert found.huggingface_token
    assert found.modelscope_token
    assert found.huggingface_token.get_secret_value() == "hf_abc"
    assert {"hf_abc", "ms-xyz"} <= set(found.values())
    assert "hf_abc" not in repr(found)
    assert vault.resolve(site(), vault_path=tmp_path / "v")["a"].huggingface_token is None
    monkeypatch.setenv("HF_TOKEN_OF_THE_TEST", "two words")
    with pytest.raises(BadInputError, match="huggingface_token"):
        vault.resolve(reading, vault_path=tmp_path / "v")
