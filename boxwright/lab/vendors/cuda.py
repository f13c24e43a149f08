"""NVIDIA's CUDA packages, SIMULATED: their names, versions and relations, and a compiler that knows its release."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from boxwright.lab.vendors.repository import Package


def cuda_packages(versions: Iterable[str]) -> Iterator[Package]:
    """The toolkits of these versions, `13.0.2`, in ascending order; each with the bundle that brings a driver.

    As in the vendor's repository, releases lie side by side under names of their own, updates of a release do not, and
    `cuda-toolkit` and `cuda` follow the newest.
    """
    for version in versions:
        major, minor, _ = version.split(".")
        name, built = f"{major}-{minor}", f"{version}-1"
        for common in ("cuda-toolkit", f"cuda-toolkit-{major}", f"cuda-toolkit-{name}"):
            yield Package(f"{common}-config-common", built)
        compiler = f'#!/bin/sh\necho "SIMULATED Cuda compilation tools, release {major}.{minor}, V{major}.{minor}.1"\n'
        yield Package(
            f"cuda-nvcc-{name}",
            built,
            _depends(f"cuda-toolkit-{name}-config-common"),
            programs={f"/usr/local/cuda-{major}.{minor}/bin/nvcc": compiler},
        )
        yield Package(f"libcublas-{name}", built, _depends(f"cuda-toolkit-{name}-config-common"))
        yield Package(f"nsight-compute-{version}", built)
        parts = [f"{part} (>= {built})" for part in (f"cuda-nvcc-{name}", f"libcublas-{name}")]
        extras = {"Recommends": f"cuda-demo-suite-{name}"}
        yield Package(f"cuda-toolkit-{name}", built, _depends(*parts, f"nsight-compute-{version}") | extras)
        yield Package(f"cuda-runtime-{name}", built, _depends(f"libcublas-{name}", "cuda-drivers"))
        yield Package(f"cuda-demo-suite-{name}", built, _depends(f"cuda-runtime-{name}"))
        yield Package(f"cuda-{name}", built, _depends(f"cuda-toolkit-{name}", f"cuda-runtime-{name}"))
        yield Package(f"cuda-toolkit-{major}", built, _depends(f"cuda-toolkit-{name}"))
        yield Package("cuda-toolkit", built, _depends(f"cuda-toolkit-{name}"))
        yield Package("cuda", built, _depends(f"cuda-{name}"))


def nccl_packages(versions: Iterable[str]) -> Iterator[Package]:
    """NCCL of these versions, `2.28.9-1+cuda13.0`: one package for each release of CUDA, under one name."""
    for version in versions:
        library = f"/usr/lib/x86_64-linux-gnu/libnccl.so.{version.partition('-')[0]}"
        yield Package("libnccl2", version, files={library: b"SIMULATED\n"})
        header = {"/usr/include/nccl.h": b"// SIMULATED\n"}
        yield Package("libnccl-dev", version, _depends(f"libnccl2 (= {version})"), files=header)


def dcgm_packages(version: str, majors: Iterable[str]) -> Iterator[Package]:
    """NVIDIA's Data Center GPU Manager: what all share, and a part for each CUDA. Without a program: it has no card."""
    core = f"datacenter-gpu-manager-4-core (= {version})"
    yield Package("datacenter-gpu-manager-4-core", version, unit="nvidia-dcgm")
    yield Package("datacenter-gpu-manager-4-proprietary", version, _depends(core))
    for major in majors:
        yield Package(f"datacenter-gpu-manager-4-cuda{major}", version, _depends(core))
        yield Package(f"datacenter-gpu-manager-4-proprietary-cuda{major}", version, _depends(core))


def _depends(*names: str) -> dict[str, str]:
    return {"Depends": ", ".join(names)}
