"""Whether a profile's drivers, toolkits and engines go with its cards, before anything is installed."""

from __future__ import annotations

from boxwright.errors import BadInputError
from boxwright.model.accelerators import Accelerator, AcceleratorCatalogue, DriverRange
from boxwright.model.profile import Profile
from boxwright.model.stack_check import check_stack

__all__ = ["check_drivers", "check_stack"]


def check_drivers(profile: Profile, catalogue: AcceleratorCatalogue) -> None:
    """Hold the profile's driver sections against what the catalogue knows of its cards.

    Raises:
        BadInputError: A card would not work: the wrong kernel module, branch or CUDA, or no fabric manager.
    """
    where = f"profile {profile.name}"
    for group in profile.hardware.accelerators:
        known = catalogue.find(group.pci_id)
        if known:
            _check_driver(profile, known[0], where)
            _check_cuda(profile, known[0], where)
    driver = profile.nvidia_driver
    if driver and profile.hardware.fabric_switches and not driver.fabric_manager:
        raise BadInputError(
            "the machine has NVSwitch bridges, and without the fabric manager no card computes (CUDA error 802)",
            where=where,
            hint="Set nvidia_driver.fabric_manager: true.",
        )


def _check_driver(profile: Profile, card: Accelerator, where: str) -> None:
    driver, allowed = profile.nvidia_driver, card.driver
    if driver and allowed and not allowed.allows(driver.branch, driver.flavour):
        raise BadInputError(
            f"{card.name} does not work with the {driver.flavour} kernel modules of branch {driver.branch}",
            where=where,
            hint=f"Set nvidia_driver to {_allowed(allowed)}.",
        )


def _allowed(driver: DriverRange) -> str:
    """The range in words, for the flavour that is recommended."""
    lowest, highest = driver.branch_min, driver.branch_max
    if lowest == highest and lowest is not None:
        branches = f"branch {lowest}"
    else:
        ends = [f"from {lowest}" if lowest else "", f"up to {highest}" if highest else ""]
        branches = " ".join(["a branch", *(end for end in ends if end)]) if any(ends) else "any branch"
    return f"{branches}, flavour {' or '.join(driver.flavours)}"


def _check_cuda(profile: Profile, card: Accelerator, where: str) -> None:
    toolkit, allowed = profile.cuda_toolkit, card.cuda
    if not toolkit or not allowed:
        return
    version = _numbers(toolkit.version)
    if allowed.max and version > _numbers(allowed.max):
        raise BadInputError(
            f"CUDA {toolkit.version} builds nothing for {card.name}",
            where=where,
            hint=f"Set cuda_toolkit.version to {allowed.max} or earlier.",
        )
    if allowed.min and version < _numbers(allowed.min):
        raise BadInputError(
            f"CUDA {toolkit.version} does not know {card.name} yet",
            where=where,
            hint=f"Set cuda_toolkit.version to {allowed.min} or later.",
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
