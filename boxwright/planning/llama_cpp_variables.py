"""Projects a fleet onto the deploy of llama.cpp, and refuses what could not run there. Pure."""

from __future__ import annotations

from boxwright.errors import BadInputError
from boxwright.model.catalogue import GIB
from boxwright.model.catalogues import load_engine
from boxwright.model.deploy_variables import LlamaCppService, LlamaCppVariables
from boxwright.model.engine_settings import EngineTable
from boxwright.model.fleet import Fleet
from boxwright.model.llama_cpp import ProgramBuild, ProgramSource
from boxwright.model.mig_layout import mig_place
from boxwright.model.site import Mirrors
from boxwright.model.stack import Service
from boxwright.model.weights import Weights, weights_of
from boxwright.planning.engine_variables import patience_s
from boxwright.planning.llama_cpp_instance import Instance
from boxwright.planning.numa import judged_at_start
from boxwright.planning.residency import residency_of
from boxwright.serving import llama_cpp_build
from boxwright.serving.llama_cpp import card_environment, rendered
from boxwright.sizing.offload import Offload
from boxwright.vault import HostSecrets

# Of main memory, what weights and caches may take; the rest is the system's, the gateway's and the chat page's.
_FOR_MODELS = 0.92


def llama_cpp_variables(fleet: Fleet, secrets: HostSecrets, mirrors: Mirrors) -> LlamaCppVariables | None:
    """What the deploy is given; None where no service wants it, or where its cards are none that it is built for."""
    services = _services(fleet)
    if not services or _on_foreign_cards(fleet):
        return None
    assert mirrors.builds  # noqa: S101  resolved by the caller
    assert mirrors.debian  # noqa: S101  resolved by the caller
    assert mirrors.python_index  # noqa: S101  resolved by the caller
    return LlamaCppVariables(
        build=program_build(fleet),
        builds=mirrors.builds,
        services=tuple(_variables(Instance.of(fleet, one)) for one in services),
        api_key=secrets.engine_key,
        debian_mirror=mirrors.debian,
        debian_keyring=fleet.site.debian_keyring,
        debian_check_valid_until=mirrors.check_valid_until is not False,
        python_index=mirrors.python_index,
        proxy=fleet.site.proxy,
        no_proxy=fleet.site.no_proxy,
    )


def _services(fleet: Fleet) -> list[Service]:
    return [one for one in fleet.profile.stack.services if one.engine == "llama_cpp"]


def _on_foreign_cards(fleet: Fleet) -> bool:
    return bool(fleet.foreign_cards) and any(fleet.profile.cards_of(one) for one in _services(fleet))


def program_build(fleet: Fleet) -> ProgramBuild | None:
    """How the program is built for this fleet's boxes; None where it comes in Debian's packages.

    Raises:
        BadInputError: No source of the release is known.
    """
    profile = fleet.profile
    if not profile.builds_llama_cpp:
        return None
    version, commit, source = _source(fleet, load_engine("llama_cpp"))
    groups = [group for group in profile.hardware.accelerators for _ in range(group.count)]
    used = {groups[card].pci_id for one in _services(fleet) for card in profile.cards_of(one)}
    known = [found[0] for pci_id in used if (found := fleet.accelerators.find(pci_id))]
    targets = tuple(one.architecture.target for one in known if one.architecture and one.vendor == "nvidia")
    cuda = profile.cuda_toolkit.version if profile.cuda_toolkit else ""
    cards = llama_cpp_build.Cards(targets, cuda) if targets else None
    return llama_cpp_build.recipe(version, commit, source, profile.hardware.cpu.isa, cards)


def _release(fleet: Fleet, table: EngineTable) -> str:
    """The release that serves."""
    if not fleet.profile.builds_llama_cpp:
        return table.cpu_version or table.default_version
    return _source(fleet, table)[0]


def _source(fleet: Fleet, table: EngineTable) -> tuple[str, str, ProgramSource]:
    """The release that is built, what it is to say of its commit, and where its source is."""
    supplied = fleet.site.artefacts.llama_cpp
    wanted = _services(fleet)[0].engine_version or (supplied.version if supplied else table.default_version)
    if supplied and supplied.version == wanted:
        return wanted, supplied.sha256[:9], llama_cpp_build.supplied_source(supplied)
    pinned = {release.version: release.source for release in table.releases if release.source}
    source = pinned.get(wanted)
    if source is None:
        raise BadInputError(
            f"no source of llama.cpp {wanted} is known",
            where=f"profile {fleet.profile.name}, stack.engine_version",
            hint=f"Take {' or '.join(pinned)}, or name its archive under artefacts.llama_cpp of the site.",
        )
    return wanted, source.commit[:9], llama_cpp_build.pinned_source(source)


def check_llama_cpp(fleet: Fleet) -> None:
    """Refuse what llama.cpp could not do on the fleet's boxes: nothing is contacted yet.

    Raises:
        BadInputError: A service could not run.
    """
    services, table = _services(fleet), load_engine("llama_cpp")
    if not services:
        return
    version = _release(fleet, table)
    for service in services:
        _check_program(fleet, service, version)
        problems = [table.check_version(version), *table.check(version, service.engine_settings)]
        problem = next((one for one in problems if one), None)
        if problem:
            raise _refused(fleet, f"engine_settings: {problem.message}", problem.hint)
    _check_memory(fleet, services)


def _refused(fleet: Fleet, message: str, hint: str) -> BadInputError:
    return BadInputError(message, where=f"profile {fleet.profile.name}, stack", hint=hint)


def _check_program(fleet: Fleet, service: Service, version: str) -> None:
    profile = fleet.profile
    cards = profile.cards_of(service)
    if not profile.builds_llama_cpp and cards:
        raise _refused(
            fleet, "Debian's llama.cpp computes on processors alone", "Set stack.llama_cpp_program to source."
        )
    if not profile.builds_llama_cpp and service.engine_version not in (None, version):
        raise _refused(
            fleet,
            f"engine_version: Debian's packages are llama.cpp {version}, not {service.engine_version}",
            "Leave engine_version out, or set stack.llama_cpp_program to source.",
        )
    if cards and not fleet.foreign_cards and profile.cuda_toolkit is None:
        raise _refused(
            fleet,
            "llama.cpp is built for the cards by NVIDIA's compiler, and uses its libraries",
            "Add the section cuda_toolkit to the profile.",
        )
    if profile.nodes > 1:
        raise _refused(fleet, "llama.cpp serves on one machine, and the box has several", "Set stack.engine to vllm.")
    if service.parallelism:
        raise _refused(
            fleet,
            "parallelism: llama.cpp deals layers out to cards by itself",
            "Leave it out; engine_settings.split-mode and tensor-split say how.",
        )


def _check_memory(fleet: Fleet, services: list[Service]) -> None:
    """Whether what does not lie on cards fits into main memory."""
    room = fleet.profile.hardware.memory_gib * GIB * _FOR_MODELS
    needs = {one.unit: _host_bytes(Instance.of(fleet, one).placed) for one in services}
    if sum(needs.values()) <= room:
        return
    largest = max(services, key=lambda one: needs[one.unit])
    others = sum(needs.values()) - needs[largest.unit]
    weights = weights_of(largest, fleet.catalogue)
    smaller = sorted(
        (one for one in weights.model.builds if one.format == "gguf" and weights.model.weight_bytes(one)),
        key=lambda one: -(weights.model.weight_bytes(one) or 0),
    )
    fitting = (
        one.name
        for one in smaller
        if _host_bytes(Instance.of(fleet, largest, Weights(weights.model, one)).placed) + others <= room
    )
    nearest = next(fitting, None)
    raise _refused(
        fleet,
        f"{weights.name} leaves {needs[largest.unit] / GIB:.0f} GiB to main memory besides what fits on the cards, and "
        f"of {fleet.profile.hardware.memory_gib:g} GiB there are {(room - others) / GIB:.0f} for it",
        f"Set stack.build to {nearest}." if nearest else "Take a smaller model, or less context.",
    )


def _host_bytes(placed: Offload | None) -> int:
    return placed.host_bytes if placed else 0


def _variables(one: Instance) -> LlamaCppService:
    fleet, service, table = one.fleet, one.service, load_engine("llama_cpp")
    hardware, directory = fleet.profile.hardware, fleet.profile.stack.models_directory
    settings = one.settings()
    words, variables = rendered(table, _release(fleet, table), settings)
    bound = len(service.numa.nodes) if service.numa.policy == "bind" else hardware.numa_nodes
    folder = one.weights.folder(directory)
    files = [f"{folder}/{file.name}" for file in one.weights.build.files if file.name.endswith(".gguf")]
    return LlamaCppService(
        unit=service.unit,
        arguments=words,
        environment=({} if service.mig_slice else card_environment(one.cards, hardware.accelerator_count)) | variables,
        model_path=one.weights.path(directory),
        model_name=one.weights.model.id,
        purpose=one.weights.model.purpose,
        residency=residency_of(fleet, service),
        numa_placement=judged_at_start(fleet, service),
        least_tokens_per_s=service.least_tokens_per_s,
        cards=bool(one.cards),
        mig=mig_place(fleet.profile, service),
        cores=max(1, hardware.cpu.cores * bound // hardware.numa_nodes),
        numa_policy=service.numa.policy,
        numa_nodes=service.numa.nodes,
        placed_anew=tuple(files) if "--numa" in settings else (),
        port=service.engine_port,
        patience_s=patience_s(one.weights),
    )
