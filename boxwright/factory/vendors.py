"""What roles take from vendors' repositories: read off the roles' own words, for a release of a distribution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from boxwright.factory.lock import Lock
from boxwright.factory.role_words import RoleWords
from boxwright.model.site import CODENAMES, Distribution, PackageRepository, RepositoryName, Site
from boxwright.model.variables import (
    AmdRocmVariables,
    AscendVariables,
    BurnInVariables,
    ContainerRuntimeVariables,
    CudaToolkitVariables,
    HygonDtkVariables,
    NvidiaDriverVariables,
    Variables,
    named,
)

# Roles whose packages are known here, by what they are given.
ROLES = {
    "nvidia_driver": NvidiaDriverVariables,
    "cuda_toolkit": CudaToolkitVariables,
    "container_runtime": ContainerRuntimeVariables,
    "amd_rocm": AmdRocmVariables,
    "ascend": AscendVariables,
    "hygon_dtk": HygonDtkVariables,
    "burn_in": BurnInVariables,
}
# Where the roles say which repository is a vendor's own, and by which variable a site names another.
_SOURCES: dict[RepositoryName, tuple[str, str]] = {
    "nvidia": ("nvidia_driver_source", "nvidia_driver_repository"),
    "nvidia_container_toolkit": ("container_runtime_toolkit_source", "container_runtime_toolkit_repository"),
    "docker": ("container_runtime_docker_source", "container_runtime_repository"),
    "amdgpu": ("amd_rocm_amdgpu_source", "amd_rocm_amdgpu_repository"),
    "rocm": ("amd_rocm_source", "amd_rocm_repository"),
}
# The running kernel is not known here: its headers are taken for being there, and the newest kernel's are held.
_BUILDS = ("debian_architecture=amd64", "headers=yes", "kernel=")
_NAMED_BY_RELEASE = "rocm-hip-runtime"
# The kernel that the newest headers are for: a box may run an older one, and no module is built for that.
_KERNEL = "linux-image-amd64"


@dataclass(frozen=True)
class VendorNeeds:
    """Packages, where they come from besides the distribution, and what of it apt may take."""

    packages: tuple[str, ...] = ()
    built_with: tuple[str, ...] = ()  # what modules are built with: installed with all that it recommends
    repositories: dict[RepositoryName, PackageRepository] = field(default_factory=dict)
    preferences: dict[str, str] = field(default_factory=dict)  # of apt, by the name of their file


def vendor_needs(variables: Iterable[Variables], distribution: Distribution) -> VendorNeeds:
    """What these roles install on a machine of a release that has nothing yet.

    Args:
        variables: What roles are given; those of other roles are passed over.
        distribution: Of the machine.
    """
    given = {unit.unit: unit for unit in variables if unit.unit in ROLES}
    if not given:
        return VendorNeeds()
    words = _words({key: value for unit in given.values() for key, value in named(unit).items()}, distribution)
    parts: dict[str, Callable[[RoleWords], VendorNeeds]] = {
        NvidiaDriverVariables.unit: _driver,
        CudaToolkitVariables.unit: _toolkit,
        ContainerRuntimeVariables.unit: _containers,
        AmdRocmVariables.unit: _rocm,
        AscendVariables.unit: lambda found: _build_tools(found, "ascend_packages"),
        HygonDtkVariables.unit: lambda found: _build_tools(found, "hygon_dtk_packages"),
        BurnInVariables.unit: _cards_loaded,
    }
    return joined([parts[unit](words) for unit in given])


def vendor_repository(name: RepositoryName, site: Site, lock: Lock) -> PackageRepository:
    """Where a site takes from what a lock has of a vendor."""
    source, variable = _SOURCES[name]
    own = getattr(site.repositories, name)
    # AMD has a repository for each release, and one package that is called by it.
    rocm = next((one.version for one in lock.of("debian") if one.name == _NAMED_BY_RELEASE), "")
    values = {variable: own and own.model_dump(mode="json"), "amd_rocm_version": ".".join(rocm.split(".")[:3])}
    return _repository(_words(values, lock.distribution), source)


def _words(values: Mapping[str, Any], distribution: Distribution) -> RoleWords:
    return RoleWords(ROLES, values, {f"{role}_read": _machine(distribution) for role in ROLES})


def _machine(distribution: Distribution) -> list[str]:
    """What a machine says of itself that has no kernel, driver or Docker yet, by the names of the roles' read.yml."""
    name, _, version = distribution.partition("-")
    of_release = [f"id={name}", f"version={version}", f"codename={CODENAMES[distribution]}"]
    return [
        *of_release,
        "architecture=amd64",
        "container=none",
        "kernels=",
        "kernel_names=",
        "loaded=",
        "driver=",
        *_BUILDS,
    ]


def _driver(words: RoleWords) -> VendorNeeds:
    fabric = (
        [words.value("nvidia_driver_fabric_manager_package")] if words.value("nvidia_driver_fabric_manager") else []
    )
    return VendorNeeds(
        packages=(*words.value("nvidia_driver_packages"), *fabric),
        built_with=(*words.value("nvidia_driver_headers"), "dkms", _KERNEL)
        if words.value("nvidia_driver_builds")
        else (),
        repositories={"nvidia": _repository(words, "nvidia_driver_source")},
        preferences={"nvidia": words.text("nvidia_driver", "preferences.j2")},
    )


def _toolkit(words: RoleWords) -> VendorNeeds:
    return VendorNeeds(
        packages=(words.value("cuda_toolkit_package"),),
        repositories={"nvidia": _repository(words, "cuda_toolkit_source")},
        preferences={
            "cuda": words.text("cuda_toolkit", "preferences.j2"),
            "without-driver": words.text("cuda_toolkit", "preferences-driver.j2"),
        },
    )


def _containers(words: RoleWords) -> VendorNeeds:
    packages = [*words.value("container_runtime_own_packages"), *words.value("container_runtime_packages")]
    repositories: dict[RepositoryName, PackageRepository] = {}
    preferences = {"docker": words.text("container_runtime", "preferences-docker.j2")}
    if words.value("container_runtime_source") == "docker_ce":
        repositories["docker"] = _repository(words, "container_runtime_docker_source")
    if words.value("container_runtime_gpu") == "nvidia":
        packages += words.value("container_runtime_toolkit_packages")
        repositories["nvidia_container_toolkit"] = _repository(words, "container_runtime_toolkit_source")
        preferences["container-toolkit"] = words.text("container_runtime", "preferences-toolkit.j2")
    return VendorNeeds(packages=tuple(packages), repositories=repositories, preferences=preferences)


def _rocm(words: RoleWords) -> VendorNeeds:
    return VendorNeeds(
        packages=tuple(words.value("amd_rocm_packages")),
        built_with=(words.value("amd_rocm_headers"), "dkms", _KERNEL),
        repositories={
            "amdgpu": _repository(words, "amd_rocm_amdgpu_source"),
            "rocm": _repository(words, "amd_rocm_source"),
        },
        preferences={
            "amdgpu": words.text("amd_rocm", "preferences-amdgpu.j2"),
            "rocm": words.text("amd_rocm", "preferences-rocm.j2"),
        },
    )


def _cards_loaded(words: RoleWords) -> VendorNeeds:
    """What a burn-in of NVIDIA's cards needs."""
    return VendorNeeds(
        packages=tuple(words.value("burn_in_card_packages")),
        repositories={"nvidia": _repository(words, "burn_in_source")},
        preferences={"burn-in": words.text("burn_in", "preferences.j2")},
    )


def _build_tools(words: RoleWords, name: str) -> VendorNeeds:
    """Of a vendor whose installers are supplied: what its module is built with."""
    packages = tuple(words.value(name))
    return VendorNeeds(packages=packages, built_with=(_KERNEL,) if "dkms" in packages else ())


def _repository(words: RoleWords, name: str) -> PackageRepository:
    return PackageRepository.model_validate(words.value(name))


def joined(parts: Sequence[VendorNeeds]) -> VendorNeeds:
    """What several roles need, together."""
    return VendorNeeds(
        packages=tuple(dict.fromkeys(name for part in parts for name in part.packages)),
        built_with=tuple(dict.fromkeys(name for part in parts for name in part.built_with)),
        repositories={name: source for part in parts for name, source in part.repositories.items()},
        preferences={name: text for part in parts for name, text in part.preferences.items()},
    )
