"""What a profile says about drivers and vendors' libraries: one class per Ansible role."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from boxwright.model.base import Frozen

AscendPart = Literal["driver", "firmware", "toolkit", "ops", "nnal"]
HygonPart = Literal["driver", "dtk"]


class NvidiaDriverPolicy(Frozen):
    """The NVIDIA driver without a display: which branch, and which of its two kernel modules."""

    branch: Annotated[int, Field(ge=535, le=999)] = 580  # a long-term branch, and the last one for Volta
    flavour: Literal["open", "closed"] = "open"
    packaging: Literal["dkms", "precompiled"] = "dkms"  # built on the machine, or built and signed by Ubuntu
    fabric_manager: bool = False  # machines with NVSwitch bridges cannot compute without it
    disable_hmm: bool = False  # where CUDA fails to start though nvidia-smi works: CUDA 13.2's known issues


class CudaToolkitPolicy(Frozen):
    """NVIDIA's compilers and libraries, for what is built on the box; engines bring their own runtime."""

    version: Annotated[str, Field(pattern=r"^1[2-9]\.[0-9]$")] = "13.0"  # 12.9 is the last one for Volta


class AmdRocmPolicy(Frozen):
    """AMD's kernel module and the ROCm libraries."""

    version: Annotated[str, Field(pattern=r"^[6-9]\.[0-9](\.[0-9])?$")] = "7.2"


class AscendPolicy(Frozen):
    """Huawei's driver, firmware and CANN, from files that the site supplies."""

    parts: Annotated[tuple[AscendPart, ...], Field(min_length=1)] = ("driver", "firmware", "toolkit", "ops", "nnal")


class HygonDtkPolicy(Frozen):
    """Hygon's driver and DTK, from files that the site supplies."""

    parts: Annotated[tuple[HygonPart, ...], Field(min_length=1)] = ("driver", "dtk")
