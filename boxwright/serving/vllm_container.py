"""What vLLM is told in a vendor's container, for a service of a profile."""

from __future__ import annotations

from boxwright.model.catalogue import Model
from boxwright.model.hardware import Hardware
from boxwright.model.stack import EngineSetting, Parallelism, Service
from boxwright.model.vllm_container import VendorContainer
from boxwright.serving.vllm import Node, vllm_settings

CACHE = "/cache"  # in the container: the one folder beside /tmp that it may write to
_ALONE = Node(rank=0, count=1, head_address="127.0.0.1")


def container_settings(
    service: Service, model: Model, hardware: Hardware, spread: Parallelism
) -> dict[str, EngineSetting]:
    """Flags by their names without dashes, as they follow from the service and the box."""
    flags = vllm_settings(service, model, hardware, spread, _ALONE)
    flags.pop("numa-bind", None)  # in a container it needs a capability; the container is bound as a whole
    return flags


def container_variables(container: VendorContainer, hardware: Hardware, cards: tuple[int, ...]) -> dict[str, str]:
    """Environment variables: nothing is fetched, nothing is told to anyone, and kernels are kept for the next start."""
    variables = {
        "HOME": CACHE,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CACHE_ROOT": f"{CACHE}/vllm",
        "TRITON_CACHE_DIR": f"{CACHE}/triton",
        "TORCHINDUCTOR_CACHE_DIR": f"{CACHE}/inductor",
    }
    if container.visible and len(cards) < hardware.accelerator_count:
        variables[container.visible] = ",".join(map(str, cards))
    return variables


def device_files(container: VendorContainer, cards: tuple[int, ...]) -> tuple[str, ...]:
    """The device files that the container is given for these cards."""
    own = tuple(container.card_device.format(card=card) for card in cards) if container.card_device else ()
    return (*container.devices, *own)
