"""Secrets are shown by the command that the end of a run names, whatever its boxes were named by."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from boxwright import vault
from boxwright.console import Console
from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_site
from boxwright.provisioning.disclosure import show
from boxwright.provisioning.target import single_host

pytestmark = pytest.mark.usefixtures("own_places")


def shown(site: str, host: str = "", name: str = "api_password") -> str:
    out = io.StringIO()
    show(Console(stdout=out), site, host, name)
    return out.getvalue().strip()


def test_of_a_site_by_its_name_and_by_its_file(tmp_path: Path) -> None:
    file = tmp_path / "site.yml"
    file.write_text("name: line\nhosts: [{name: a, address: 192.0.2.1}, {name: b, address: 192.0.2.2}]\n")
    with pytest.raises(BadInputError, match="no site 'line'"):
        shown("line")
    own = vault.resolve(load_site(str(file)))
    for site in (str(file), "line"):  # a run ends with the name
        assert shown(site) == own["a"].api_password.get_secret_value()
        assert shown(site, "b") == own["b"].api_password.get_secret_value()
        with pytest.raises(BadInputError, match="has no host 'c'"):
            shown(site, "c")
    assert shown(str(file), "192.0.2.2") == own["b"].api_password.get_secret_value()
    with pytest.raises(BadInputError, match="Did you mean 'api_key'"):
        shown("line", name="api_kye")


def test_of_a_machine_without_a_site() -> None:
    alone = single_host("ada@192.0.2.9:2222")
    (own,) = vault.resolve(alone).values()
    password = own.api_password.get_secret_value()
    assert shown("192-0-2-9", "192-0-2-9") == password  # as the end of its run says it
    assert shown("lab", "ada@192.0.2.9:2222") == password  # as it was provisioned
    for host in ("root@192.0.2.10", "lab-7"):  # nobody provisioned them, and no secret is made of asking
        with pytest.raises(BadInputError, match="has no host"):
            shown("lab", host)


def test_a_secret_that_the_site_has_elsewhere_is_shown_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWN", "a-password-of-theirs")
    file = tmp_path / "site.yml"
    file.write_text(
        "name: line\nhosts: [{name: a, address: 192.0.2.1}]\nsecrets: {api_password: 'env:OWN', api_key: vault}\n"
    )
    vault.resolve(load_site(str(file)))
    assert shown(str(file)) == "a-password-of-theirs"
    with pytest.raises(BadInputError, match="'api_password' of a is not in the vault"):
        shown("line")


@pytest.mark.parametrize("name", ["../sites/line", "..", ".", "/etc"])
def test_a_name_leads_nowhere_else(name: str) -> None:
    with pytest.raises(BadInputError, match="no site"):
        shown(name)
