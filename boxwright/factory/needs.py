"""What a fleet's boxes install, read off the same variables, lists and role files that install it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from pydantic import SecretStr

from boxwright.errors import BadInputError
from boxwright.factory import vendors
from boxwright.factory.known_files import KnownFile, firmware_files, installer_files, ollama_file, source_file
from boxwright.factory.vendors import VendorNeeds, vendor_needs
from boxwright.model.debian_packages import COMPILERS, LLAMA_CPP, PYTHON_3_11, UNPACKED, UnpackedPackages
from boxwright.model.deploy_variables import (
    KtransformersVariables,
    LlamaCppVariables,
    ModelsVariables,
    OllamaVariables,
    OpenWebuiVariables,
    TensorrtLlmVariables,
    VllmContainerVariables,
    VllmVariables,
)
from boxwright.model.fleet import Fleet
from boxwright.model.site import Distribution, Mirrors
from boxwright.model.variables import AscendVariables, BaseVariables, HygonDtkVariables, Variables
from boxwright.model.weights import WantedBuild
from boxwright.places import ROOT
from boxwright.planning.stages import stages_of
from boxwright.planning.variables import deploy_variables, role_variables
from boxwright.vault import HostSecrets

PLATFORM = "platform"  # the packages that the box itself installs
# Of these stages everything that they fetch is known. A stage that is not named here is refused, and not left out.
_ROLES = frozenset({"base", "storage", "kernel", "rdma", "reboot", "gateway", "monitoring", "firewall"})
_OF_VENDORS = frozenset(vendors.ROLES)
_CONTAINERS = frozenset({"tensorrt_llm", "vllm_ascend", "vllm_rocm"})
_DEPLOYS = _CONTAINERS | {"models", "llama_cpp", "vllm", "ollama", "ktransformers", "open_webui"}
_NOBODYS = SecretStr("no secret: nothing is installed by it")
_SECRETS = HostSecrets(
    api_password=_NOBODYS,
    api_key=_NOBODYS,
    engine_key=_NOBODYS,
    webui_admin_password=_NOBODYS,
    webui_secret_key=_NOBODYS,
)
_NOWHERE = Mirrors(
    debian="http://nowhere.invalid/debian",
    debian_security="http://nowhere.invalid/security",
    python_index="http://nowhere.invalid/simple",
    builds="/nowhere",
)


@dataclass(frozen=True)
class Environment:
    """A Python environment of pinned wheels."""

    name: str
    requirements: str  # a pip list with the digests of every wheel


@dataclass(frozen=True)
class Needs:
    """Everything that is fetched for the boxes of a fleet."""

    packages: tuple[str, ...] = ()  # of the distribution, which the box itself installs
    vendors: VendorNeeds = field(default_factory=VendorNeeds)  # the same, of vendors' repositories
    unpacked: tuple[UnpackedPackages, ...] = ()
    environments: tuple[Environment, ...] = ()
    files: tuple[KnownFile, ...] = ()
    images: tuple[str, ...] = ()  # of containers: NAME@sha256:DIGEST
    builds: tuple[WantedBuild, ...] = ()


def needs_of(fleet: Fleet, distribution: Distribution) -> Needs:
    """Read what the boxes of a fleet install on a release of a distribution.

    Raises:
        BadInputError: Something of it cannot be bundled; it says what, and what to do.
    """
    stages = [stage.name for stage in stages_of(fleet)]
    refused = [name for name in stages if name not in _ROLES | _OF_VENDORS | _DEPLOYS]
    variables = [] if refused else _variables(fleet)
    refused += _unsupplied(fleet)
    if fleet.without_stack and not fleet.site.twin:  # of a twin with cards, the machine alone is made
        refused.append(f"the stack ({fleet.without_stack})")
    if refused:
        raise BadInputError(
            f"cannot be bundled: {', '.join(refused)}",
            where=f"profile {fleet.profile.name}",
            hint="Boxes with a route to their mirrors are made without: ./invoke provision, and no --bundle.",
        )
    environments = tuple(dict.fromkeys(one for unit in variables for one in _environments(unit)))
    if environments:
        environments = (environment("python", "uv"), *environments)  # which installs the others
    programs = {COMPILERS if one.build else LLAMA_CPP for one in variables if isinstance(one, LlamaCppVariables)}
    unpacked = [one for one in UNPACKED if one in programs]
    unpacked += [PYTHON_3_11] if environments else []
    builds = {build.name: build for one in variables if isinstance(one, ModelsVariables) for build in one.builds}
    wanted = {package for one in variables if isinstance(one, BaseVariables) for package in one.packages}
    wanted |= {package for name in stages if name in _ROLES for package in role_packages(name)}
    files = [one for unit in variables for one in _files(unit)]
    return Needs(
        packages=tuple(sorted(wanted)),
        vendors=vendor_needs(variables, distribution),
        unpacked=tuple(unpacked),
        environments=environments,
        files=tuple(dict.fromkeys((*files, *firmware_files(fleet.site.artefacts.firmware)))),
        images=tuple(dict.fromkeys(image for unit in variables for image in _images(unit))),
        builds=tuple(builds.values()),
    )


def _unsupplied(fleet: Fleet) -> Iterator[str]:
    """Installers that no repository has and that the site does not name."""
    for vendor in ("ascend", "hygon_dtk"):
        policy = getattr(fleet.profile, vendor)
        supplied = {one.part for one in getattr(fleet.site.artefacts, vendor)}
        lacking = [part for part in policy.parts if part not in supplied] if policy else []
        if lacking:
            yield f"{', '.join(lacking)} of {vendor}, of which artefacts.{vendor} of the site names no file"


def role_packages(role: str) -> tuple[str, ...]:
    """The Debian packages that a role installs, as its own `vars/main.yml` lists them."""
    said = yaml.safe_load((ROOT / "roles" / role / "vars/main.yml").read_text(encoding="utf-8"))
    return tuple(said.get(f"{role}_essential_packages") or said.get(f"{role}_packages") or ())


def _variables(fleet: Fleet) -> list[Variables]:
    """What roles and deploys are given on every host, with secrets, mirrors and addresses that are none."""
    hosts = tuple(
        host if host.address else host.model_copy(update={"address": f"192.0.2.{number}"})  # of documents alone
        for number, host in enumerate(fleet.site.hosts, 1)
    )
    # Images by their vendors' names: from where a site has them is no matter of a lock.
    site = fleet.site.model_copy(update={"hosts": hosts, "registry_rewrites": {}})
    fleet = fleet.model_copy(update={"site": site})
    return [
        one
        for host in fleet.site.hosts
        for one in (
            *role_variables(fleet, host, _SECRETS, (), None),
            *deploy_variables(fleet, host, _SECRETS, _NOWHERE),
        )
    ]


def _environments(unit: Variables) -> list[Environment]:
    if isinstance(unit, OpenWebuiVariables):
        return [environment("open_webui", f"{unit.flavour}-{unit.version}")]
    if isinstance(unit, VllmVariables):
        lists = [f"{unit.flavour}-{unit.version}", *([f"ray-{unit.ray.release}"] if unit.ray else [])]
        return [environment("vllm", *lists)]
    if isinstance(unit, KtransformersVariables):
        return [environment("ktransformers", f"{unit.flavour}-{unit.version}")]
    return []


def _files(unit: Variables) -> list[KnownFile]:
    if isinstance(unit, OllamaVariables):
        return [ollama_file(unit.archive)]
    if isinstance(unit, LlamaCppVariables) and unit.build:
        return [source_file(unit.build)]
    if isinstance(unit, AscendVariables | HygonDtkVariables):
        return list(installer_files(unit.unit, unit.installers))
    return []


def _images(unit: Variables) -> list[str]:
    if isinstance(unit, TensorrtLlmVariables | VllmContainerVariables):
        return [one.image for one in unit.services]
    return []


def environment(deploy: str, *lists: str) -> Environment:
    """What a deploy's pinned lists make together."""
    folder: Path = ROOT / "deploys" / deploy
    texts = [(folder / f"requirements-{name}.lock").read_text(encoding="utf-8") for name in lists]
    return Environment(deploy, "".join(texts))
