"""Drivers that a profile's cards would not work with are refused when the profile is chosen."""

from __future__ import annotations

from typing import Any

import pytest

from boxwright.errors import BadInputError
from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet, profile_names
from boxwright.model.compatibility import check_drivers
from boxwright.model.drivers import CudaToolkitPolicy, NvidiaDriverPolicy
from boxwright.model.site import Host, Site, TwinSettings

CATALOGUE = load_accelerators()


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_goes_with_its_cards(name: str) -> None:
    check_drivers(load_profile(name), CATALOGUE)


@pytest.mark.parametrize(
    ("name", "changes", "message", "hint"),
    [
        (
            "1xv100",
            {"nvidia_driver": NvidiaDriverPolicy(flavour="open")},
            "Tesla V100 does not work with the open kernel modules of branch 580",
            "Set nvidia_driver to branch 580, flavour closed.",
        ),
        (
            "1xv100",
            {"nvidia_driver": NvidiaDriverPolicy(branch=590, flavour="closed")},
            "Tesla V100 does not work with the closed kernel modules of branch 590",
            "Set nvidia_driver to branch 580, flavour closed.",
        ),
        (
            "8x5090",
            {"nvidia_driver": NvidiaDriverPolicy(flavour="closed")},
            "does not work with the closed kernel modules of branch 580",
            "flavour open",
        ),
        (
            "1xv100",
            {"cuda_toolkit": CudaToolkitPolicy(version="13.0")},
            "CUDA 13.0 builds nothing for Tesla V100",
            "Set cuda_toolkit.version to 12.9 or earlier.",
        ),
        (
            "8x5090",
            {"cuda_toolkit": CudaToolkitPolicy(version="12.4")},
            "CUDA 12.4 does not know",
            "Set cuda_toolkit.version to 12.8 or later.",
        ),
        (
            "2x8xh20",
            {"nvidia_driver": NvidiaDriverPolicy()},
            "without the fabric manager no card computes",
            "Set nvidia_driver.fabric_manager: true.",
        ),
    ],
)
def test_what_would_not_work_is_refused(name: str, changes: dict[str, Any], message: str, hint: str) -> None:
    profile = load_profile(name).model_copy(update=changes)
    with pytest.raises(BadInputError, match=message) as refused:
        check_drivers(profile, CATALOGUE)
    assert hint in refused.value.hint


@pytest.mark.parametrize("distribution", ["debian-12", "debian-13"])
def test_built_modules_are_refused_where_nobody_publishes_any(distribution: Any) -> None:
    policy = NvidiaDriverPolicy(packaging="precompiled")
    profile = load_profile("8x4090").model_copy(update={"nvidia_driver": policy})
    real = Site(name="s", hosts=(Host(name="box-1", address="192.0.2.7"),))
    assert (
        make_fleet(profile, real, load_models(), load_accelerators()).profile.nvidia_driver == policy
    )  # it may run Ubuntu
    twins = Site(name="s", hosts=(Host(name="box-1"),), twin=TwinSettings(distribution=distribution))
    with pytest.raises(BadInputError, match=f"built for {distribution}, .* Set packaging to dkms"):
        make_fleet(profile, twins, load_models(), load_accelerators())
