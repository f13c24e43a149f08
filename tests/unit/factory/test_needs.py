"""What is locked follows from what is installed; what nobody can bundle is refused by name."""

from __future__ import annotations

import re

import pytest
import yaml

from boxwright.errors import BadInputError
from boxwright.factory.needs import _ROLES, needs_of, role_packages
from boxwright.model.catalogues import ROOT, profile_names
from boxwright.model.fleet import Fleet
from boxwright.planning.stages import stages_of
from boxwright.provisioning.target import Choice, choose


def fleet(profile: str) -> Fleet:
    return choose(Choice(profile=profile, site="lab"))


def test_the_lab_needs_packages_python_llama_cpp_wheels_and_a_model() -> None:
    needs = needs_of(fleet("lab"))
    assert {"nginx", "prometheus", "nftables", "ca-certificates", "unattended-upgrades"} <= set(needs.packages)
    assert [one.name for one in needs.unpacked] == ["llama_cpp", "python3.11"]
    assert [one.name for one in needs.environments] == ["python", "open_webui"]
    assert [one.name for one in needs.builds] == ["smollm2-135m-instruct/q4_1"]


@pytest.mark.parametrize(
    ("profile", "named"),
    [("8x4090", "nvidia_driver"), ("8xmi300x", "amd_rocm"), ("lab-ollama", "ollama"), ("8x910b", "ascend")],
)
def test_what_cannot_be_bundled_is_refused_by_name(profile: str, named: str) -> None:
    with pytest.raises(BadInputError, match=f"cannot be bundled yet: .*{named}"):
        needs_of(fleet(profile))


@pytest.mark.parametrize("profile", profile_names())
def test_no_stage_of_any_profile_is_left_out_silently(profile: str) -> None:
    chosen = fleet(profile)
    known = {stage.name for stage in stages_of(chosen)} <= _ROLES | {"models", "llama_cpp", "vllm", "open_webui"}
    if known and not chosen.without_stack:
        assert needs_of(chosen).builds
        return
    with pytest.raises(BadInputError, match="cannot be bundled yet"):
        needs_of(chosen)


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
