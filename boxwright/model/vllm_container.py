"""vLLM in its vendor's container, for cards that are not NVIDIA's: what each vendor's container needs of a box.

Nothing of it was run on such a card. The container's account is not root, unlike in most of the documents named here,
so it is given the groups that own the device files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from boxwright.model.accelerators import Accelerator, VendorName
from boxwright.model.profile import Profile
from boxwright.model.stack import EngineName, Service

Found = tuple[str, str]  # what is wrong, and what to do instead


@dataclass(frozen=True)
class VendorContainer:
    """How a vendor's container is given cards, and how vLLM is started in it.

    Attributes:
        vendor: Whose cards.
        title: In words.
        devices: Device files that it is always given.
        card_device: The device file of one card, by its number; None: `devices` are those of all cards.
        visible: The variable that names cards where not all of them are to be used; None: it sees what it is given.
        groups: Of the box, which own the device files.
        readable: Files and folders of the box that it reads at the same place: the driver's part in the container.
        entrypoint: What is started in place of the image's own; None: the image's own sets the libraries' paths.
        image: The name that the vendor publishes it under, for messages.
    """

    vendor: VendorName
    title: str
    devices: tuple[str, ...]
    card_device: str | None
    visible: str | None
    groups: tuple[str, ...]
    readable: tuple[str, ...]
    entrypoint: str | None
    image: str


VENDOR_CONTAINERS: dict[EngineName, VendorContainer] = {
    # AMD, "Running ROCm Docker containers" and "vLLM inference and serving on ROCm": the devices; that other security
    # options are optional. That the groups' numbers have to be the box's: ROCm-docker, issue 90. HIP_VISIBLE_DEVICES:
    # vLLM's platforms/rocm.py, which takes it for CUDA_VISIBLE_DEVICES too. rocm/vllm starts a shell, and
    # vllm/vllm-openai-rocm starts `vllm serve` (vLLM's docker/Dockerfile.rocm), so vLLM is named.
    "vllm_rocm": VendorContainer(
        vendor="amd",
        title="vLLM for AMD's cards",
        devices=("/dev/kfd", "/dev/dri"),
        card_device=None,
        visible="HIP_VISIBLE_DEVICES",
        groups=("render", "video"),
        readable=(),
        entrypoint="vllm",
        image="rocm/vllm, or vllm/vllm-openai-rocm",
    ),
    # vLLM Ascend's documentation, "Quick Start": devices and driver's files. Its issue 9490: HwHiAiUser owns the
    # devices. "Running vLLM-Ascend as Non-Root User": with tensor parallelism HCCL looks its account up in
    # /etc/passwd. The image's own start sets the paths of CANN's libraries (cann-container-image, Dockerfile of 9.1.0).
    "vllm_ascend": VendorContainer(
        vendor="huawei",
        title="vLLM for Huawei's cards",
        devices=("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"),
        card_device="/dev/davinci{card}",
        visible=None,
        groups=("HwHiAiUser",),
        readable=(
            "/etc/ascend_install.info",
            "/etc/group",
            "/etc/passwd",
            "/usr/local/Ascend/driver/lib64",
            "/usr/local/Ascend/driver/version.info",
            "/usr/local/bin/npu-smi",
            "/usr/local/dcmi",
        ),
        entrypoint=None,
        image="quay.io/ascend/vllm-ascend",
    ),
}


def check_vllm_container(profile: Profile, service: Service, cards: Iterable[Accelerator]) -> Found | None:
    """Whether the machine could run the engine's container.

    Args:
        profile: The machine.
        service: What is to be served.
        cards: The kinds of cards that it uses, as far as they are known.

    Returns:
        What is wrong, and what to do instead; None where nothing is, or where no such container is asked for.
    """
    container = VENDOR_CONTAINERS.get(service.engine)
    return next(_problems(profile, service, container, tuple(cards)), None) if container else None


def _problems(
    profile: Profile, service: Service, container: VendorContainer, cards: tuple[Accelerator, ...]
) -> Iterator[Found]:
    engine = service.engine
    if not cards or any(one.vendor != container.vendor for one in cards):
        yield f"{engine} is {container.title}, and the service has none that are known as such", "Take another engine."
    if profile.nodes > 1:
        yield f"{engine} over several machines is not set up", "Take one machine: nodes: 1."
    if profile.container_runtime is None:
        yield f"{engine} is a container, and nothing runs one", "Add `container_runtime: {}` to the profile."
    if service.numa.policy == "interleave":
        yield "numa.policy: a container is bound to NUMA nodes, and not interleaved over them", "Set it to bind."
    if service.engine_image and not service.engine_version:
        yield (
            "engine_image: nobody says which release of vLLM it holds",
            "Set engine_version: flags depend on it.",
        )
