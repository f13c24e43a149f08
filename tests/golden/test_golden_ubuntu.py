"""What roles make of Ubuntu, held against a file that a person has read. Beyond this, Ubuntu is untested.

Roles know a distribution by what they read from the machine: the variables that follow from that are resolved here, for
profiles of each kind, and every text that is another one than on Debian is told. After a change that is meant:
`BOXWRIGHT_GOLDEN=write ./invoke test --fast --only golden`, then read the diff.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from template_rendering import DEBIAN, RELEASES, fleet_of, role_templates, text_on, value_on

from boxwright.planning.stages import stages_of

HERE = Path(__file__).parent
PROFILES = ("8x4090", "2x8xh20", "1xv100", "8xmi300x")
VARIABLES = {
    "nvidia_driver": (
        "nvidia_driver_distribution",
        "nvidia_driver_from_archive",
        "nvidia_driver_packages",
        "nvidia_driver_fabric_manager_package",
        "nvidia_driver_headers",
        "nvidia_driver_dkms_key.file",
    ),
    "cuda_toolkit": ("cuda_toolkit_source", "cuda_toolkit_package"),
    "amd_rocm": ("amd_rocm_amdgpu_source", "amd_rocm_source", "amd_rocm_headers", "amd_rocm_packages"),
    "container_runtime": (
        "container_runtime_docker_source",
        "container_runtime_toolkit_source",
        "container_runtime_packages",
    ),
}


def resolved(release: str, profile_name: str) -> dict[str, Any]:
    """The variables of a profile's roles on a release."""
    stages = [stage.name for stage in stages_of(fleet_of(profile_name)) if stage.name in VARIABLES]
    found = {name: value_on(release, name, role, profile_name) for role in stages for name in VARIABLES[role]}
    if "nvidia_driver" in stages:
        built = {"nvidia_driver_packaging": "precompiled"}
        for name in ("nvidia_driver_packages", "nvidia_driver_built_packages"):
            found[f"{name} (precompiled)"] = value_on(release, name, "nvidia_driver", profile_name, **built)
    if "container_runtime" in stages:
        own = {"container_runtime_source": "debian"}
        name = "container_runtime_packages"
        found[f"{name} (of the distribution)"] = value_on(release, name, "container_runtime", profile_name, **own)
    return found


def other_texts(release: str, profile_name: str) -> dict[str, list[str]]:
    """The lines of each template that is not as on Debian. Every one is rendered: none may lack a variable."""
    stages = {stage.name for stage in stages_of(fleet_of(profile_name))} | {"apt_repository"}
    texts = {}
    for template in role_templates():
        role = template.partition("/")[0]
        if role in stages:
            text = text_on(release, template, role, profile_name)
            if text != text_on(DEBIAN, template, role, profile_name):
                texts[template] = text.splitlines()
    return texts


@pytest.mark.parametrize("release", RELEASES)
def test_ubuntu_is_as_read(release: str) -> None:
    found = {name: resolved(release, name) | other_texts(release, name) for name in PROFILES}
    path = HERE / f"{release}.json"
    text = json.dumps(found, indent=2) + "\n"
    if os.environ.get("BOXWRIGHT_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_the_same_questions_have_other_answers_on_debian() -> None:
    assert value_on(DEBIAN, "nvidia_driver_packages", "nvidia_driver", "1xv100") == [
        "nvidia-driver-cuda",
        "nvidia-persistenced",
        "nvidia-kernel-dkms",
    ]
    assert value_on(DEBIAN, "nvidia_driver_headers", "nvidia_driver", "1xv100") == ["linux-headers-amd64"]
