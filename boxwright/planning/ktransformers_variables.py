"""Projects a fleet onto the deploy of KTransformers. Pure."""

from __future__ import annotations

from boxwright.model.catalogues import load_engine
from boxwright.model.deploy_variables import KtransformersService, KtransformersVariables
from boxwright.model.engine_settings import EngineTable, arguments, environment
from boxwright.model.fleet import Fleet
from boxwright.model.ktransformers import METHODS, memory_bytes, method_name
from boxwright.model.setting import Value
from boxwright.model.site import Mirrors
from boxwright.model.stack import Service
from boxwright.model.weights import parts_of
from boxwright.planning.engine_variables import ways_between_cards
from boxwright.planning.numa import judged_at_start
from boxwright.planning.residency import residency_of
from boxwright.serving.ktransformers import kt_environment, kt_settings, threads
from boxwright.vault import HostSecrets

_KERNELS = "KT_KERNEL_CPU_VARIANT"
# How long a start may take: this much, and what lies in memory at the speed of a slow NVMe disk. The first start also
# puts the kernels for cards together, and compiles some.
_START_S = 900
_SLOWEST_READ_BYTES_PER_S = 500_000_000


def ktransformers_variables(fleet: Fleet, secrets: HostSecrets, mirrors: Mirrors) -> KtransformersVariables | None:
    """What the deploy of KTransformers is given; None where no service wants it.

    On a twin the cards are simulated: the kernels of the processor are installed and examined, and nothing serves.
    """
    services = [one for one in fleet.profile.stack.services if one.engine == "ktransformers"]
    if not services:
        return None
    assert mirrors.python_index  # noqa: S101  resolved by the caller
    assert mirrors.debian  # noqa: S101  resolved by the caller
    rehearsal, table = bool(fleet.rehearsed), load_engine("sglang_kt")
    own = [_own(table, one) for one in services]
    return KtransformersVariables(
        flavour="cpu" if rehearsal else "cuda",
        version=services[0].engine_version or table.default_version,
        methods=tuple(dict.fromkeys(_method(fleet, table, one) for one in services)),
        kernels=next((str(settings[_KERNELS]) for settings in own if _KERNELS in settings), None),
        memory_bytes=sum(_memory(fleet, table, one) for one in services),
        services=() if rehearsal else tuple(_service(fleet, table, one) for one in services),
        api_key=secrets.engine_key,
        python_index=mirrors.python_index,
        wheels=mirrors.wheels or (),
        debian_mirror=mirrors.debian,
        debian_keyring=fleet.site.debian_keyring,
        debian_check_valid_until=mirrors.check_valid_until is not False,
        proxy=fleet.site.proxy,
    )


def _own(table: EngineTable, service: Service) -> dict[str, Value]:
    return {table.canonical(name): value for name, value in service.engine_settings.items()}


def _method(fleet: Fleet, table: EngineTable, service: Service) -> str:
    setting = table.find("--kt-method", service.engine_version or table.default_version)
    assert setting is not None  # noqa: S101  every release of the table has it
    return method_name(_own(table, service), parts_of(service, fleet.catalogue)[-1].build, setting.default or "")


def _memory(fleet: Fleet, table: EngineTable, service: Service) -> int:
    experts = parts_of(service, fleet.catalogue)[-1]
    method = METHODS[_method(fleet, table, service)]
    return memory_bytes(method, experts.model.architecture, experts.model.weight_bytes(experts.build) or 0)


def _service(fleet: Fleet, table: EngineTable, service: Service) -> KtransformersService:
    profile, parts = fleet.profile, parts_of(service, fleet.catalogue)
    method, model = _method(fleet, table, service), parts[0].model
    version, own = service.engine_version or table.default_version, _own(table, service)
    directory, converted = profile.stack.models_directory, METHODS[method].reads == "converted"
    model_path = parts[0].folder(directory)
    experts_path = f"{model_path}-{method.lower()}" if converted else parts[-1].folder(directory)
    flags = {name: value for name, value in own.items() if name.startswith("--")}
    variables = {name: value for name, value in own.items() if not name.startswith("--")}
    settings: dict[str, Value] = {
        "--model-path": model_path,
        "--kt-weight-path": experts_path,
        "--served-model-name": model.id,
        "--host": "127.0.0.1",
        "--port": service.engine_port,
    }
    cores, pools = threads(service, profile.hardware)
    return KtransformersService(
        unit=service.unit,
        arguments=arguments(table, version, settings | kt_settings(profile, service, model, method, flags)),
        environment=kt_environment(
            service.unit, profile.hardware, profile.cards_of(service), p2p="none" not in ways_between_cards(fleet)
        )
        | environment(table, version, variables),
        method=method,
        model_name=model.id,
        purpose=model.purpose,
        residency=residency_of(fleet, service),
        numa_placement=judged_at_start(fleet, service),
        least_tokens_per_s=service.least_tokens_per_s,
        model_path=model_path,
        experts_path=experts_path,
        converted=converted,
        threads=cores,
        pools=pools,
        port=service.engine_port,
        patience_s=_START_S + _memory(fleet, table, service) // _SLOWEST_READ_BYTES_PER_S,
    )
