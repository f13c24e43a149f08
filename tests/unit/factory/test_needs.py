"""What is locked follows from what is installed; what nobody can bundle is refused by name."""

from __future__ import annotations

import re

import pytest
import yaml

from boxwright.errors import BadInputError
from boxwright.factory.needs import _DEPLOYS, _OF_VENDORS, _ROLES, needs_of, role_packages
from boxwright.model.catalogues import profile_names
from boxwright.model.fleet import Fleet
from boxwright.model.site import Artefacts, HygonArtefact
from boxwright.places import ROOT
from boxwright.planning.stages import stages_of
from boxwright.provisioning.target import Choice, choose


def fleet(profile: str) -> Fleet:
    return choose(Choice(profile=profile, site="lab"))


def test_the_lab_needs_packages_python_llama_cpp_wheels_and_a_model() -> None:
    needs = needs_of(fleet("lab"), "debian-12")
    assert {"nginx", "prometheus", "nftables", "ca-certificates", "unattended-upgrades"} <= set(needs.packages)
    assert [one.name for one in needs.unpacked] == ["llama_cpp", "python3.11"]
    assert [one.name for one in needs.environments] == ["python", "open_webui"]
    assert [one.name for one in needs.builds] == ["smollm2-135m-instruct/q4_1"]
    assert (needs.vendors.packages, needs.files) == ((), ())


def test_ollama_needs_its_archive_and_what_unpacks_it() -> None:
    needs = needs_of(fleet("lab-ollama"), "debian-12")
    assert [(one.kind, one.name, one.version) for one in needs.files] == [("archive", "ollama", "0.33.0")]
    assert "zstd" in needs.packages


def test_a_twin_with_cards_needs_what_its_machine_is_made_of() -> None:
    needs = needs_of(fleet("8x4090"), "debian-12")
    assert {"nvidia-driver-cuda", "docker-ce", "cuda-toolkit-13-0"} <= set(needs.vendors.packages)
    assert (needs.builds, needs.environments) == ((), ())


def test_a_real_box_whose_model_nobody_has_pinned_is_refused_with_the_remedy() -> None:
    """Its bundle would have the machine alone, and whoever carries it into a room without internet would find out."""
    with pytest.raises(BadInputError, match=r"the stack .*no digests.*models\.pin"):
        needs_of(choose(Choice(profile="8x4090", host="root@192.0.2.7")), "debian-12")


@pytest.mark.parametrize(
    ("profile", "named"),
    [("8x910b", "driver, firmware, .* of ascend"), ("8xk100ai", "driver, dtk of hygon_dtk")],
)
def test_what_cannot_be_bundled_is_refused_by_name(profile: str, named: str) -> None:
    with pytest.raises(BadInputError, match=f"cannot be bundled: {named}, of which artefacts"):
        needs_of(fleet(profile), "debian-12")


def test_installers_that_a_customer_supplies_are_needed_as_they_are() -> None:
    supplied = HygonArtefact(part="driver", path="~/Downloads/rock-6.3.run", version="6.3", sha256="0" * 64)
    chosen = fleet("8xk100ai")
    parts = (supplied, supplied.model_copy(update={"part": "dtk", "sha256": "1" * 64}))
    site = chosen.site.model_copy(update={"artefacts": Artefacts(hygon_dtk=parts)})
    needs = needs_of(chosen.model_copy(update={"site": site}), "debian-12")
    assert [(one.kind, one.name, one.version, one.file) for one in needs.files] == [
        ("installer", "hygon_dtk-driver", "6.3", "rock-6.3.run"),
        ("installer", "hygon_dtk-dtk", "6.3", "rock-6.3.run"),
    ]
    assert {"dkms", "g++", "linux-headers-amd64"} <= set(needs.vendors.packages)
    assert needs.vendors.built_with == ("linux-image-amd64",)


@pytest.mark.parametrize("profile", profile_names())
def test_no_stage_of_any_profile_is_left_out_silently(profile: str) -> None:
    chosen = fleet(profile)
    assert {stage.name for stage in stages_of(chosen)} <= _ROLES | _OF_VENDORS | _DEPLOYS
    if chosen.profile.ascend or chosen.profile.hygon_dtk:
        return  # they want files of the site's, see above
    assert bool(needs_of(chosen, "debian-12").builds) == (not chosen.without_stack)


@pytest.mark.parametrize("role", sorted(_ROLES - {"reboot"}))
def test_a_role_installs_what_its_list_says(role: str) -> None:
    """A name that stood in a task instead would be in no lock."""
    packages = role_packages(role)
    assert packages
    for path in (ROOT / "roles" / role / "tasks").glob("*.yml"):
        for task in yaml.safe_load(path.read_text()) or []:
            told = task.get("ansible.builtin.apt")
            if told:
                names = told["name"] if isinstance(told["name"], list) else [told["name"]]
                assert all(re.fullmatch(r"\{\{ .* \}\}", name) for name in names), f"{path}: {names}"
