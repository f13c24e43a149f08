"""A site behind a bundle: everything comes from there, and nothing from anywhere else."""

from __future__ import annotations

import json
import re

from boxwright.factory.needs import _SECRETS
from boxwright.mirrors import resolve
from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet
from boxwright.model.debian_packages import BUNDLE_KEYRING, DEBIAN_KEYRING
from boxwright.model.fleet import Fleet
from boxwright.model.site import Host, Mirrors, ServedBundle, Site
from boxwright.model.variables import named
from boxwright.planning.variables import deploy_variables, role_variables

URL = "http://192.0.2.2:8873/lab-debian-12"
BUNDLE = ServedBundle(url=URL, suite="platform", key="-----BEGIN PGP PUBLIC KEY BLOCK-----\n")


def fleet(bundle: ServedBundle | None) -> Fleet:
    site = Site(
        name="s",
        hosts=(Host(name="box-1", address="192.0.2.7"),),
        proxy="http://proxy.example:3128",
        no_proxy=("inside.example",),
        mirrors=Mirrors(
            debian="http://mirror.example/debian",
            debian_security="http://mirror.example/security",
            python_index="http://mirror.example/simple",
            wheels=("http://mirror.example/torch",),
        ),
        bundle=bundle,
    )
    return make_fleet(load_profile("lab"), site.behind_its_bundle(), load_models(), load_accelerators())


def told(made: Fleet) -> dict[str, object]:
    host = made.hosts[0]
    units = (
        *role_variables(made, host, _SECRETS, (), None),
        *deploy_variables(made, host, _SECRETS, resolve(made.site.mirrors)),
    )
    return {name: value for unit in units for name, value in named(unit).items()}


def test_every_address_to_fetch_from_is_the_bundles() -> None:
    variables = told(fleet(BUNDLE))
    fetched = {
        name: value for name, value in variables.items() if re.search(r"mirror|index$|wheels|proxy|builds$", name)
    }
    fetched.pop("llama_cpp_builds")  # a folder of the controller
    text = json.dumps(fetched)
    assert "example" not in text
    assert set(re.findall(r"http://[^/\"]+", text)) == {"http://192.0.2.2:8873"}
    (file,) = variables["models_builds"][0]["files"]  # type: ignore[index]
    assert file["urls"] == [f"{URL}/files/{file['sha256']}"]
    assert file["python_packages"] == []
    assert variables["base_proxy"] is None


def test_lists_are_held_against_the_bundles_key_alone() -> None:
    keyrings = {value for name, value in told(fleet(BUNDLE)).items() if name.endswith("_debian_keyring")}
    assert keyrings == {BUNDLE_KEYRING}
    assert {value for name, value in told(fleet(None)).items() if name.endswith("_debian_keyring")} == {DEBIAN_KEYRING}


def test_without_a_bundle_nothing_is_another() -> None:
    made = fleet(None)
    assert made.site.proxy == "http://proxy.example:3128"
    assert told(made)["base_bundle"] is None
