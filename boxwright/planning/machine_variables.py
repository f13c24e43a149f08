"""Projects a fleet onto the roles that make the machine itself: disks, kernel, drivers, containers. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from boxwright.model.fleet import Fleet
from boxwright.model.mig_layout import sliced_cards
from boxwright.model.site import Host
from boxwright.model.variables import (
    AmdRocmVariables,
    AscendVariables,
    ContainerRuntimeVariables,
    CudaToolkitVariables,
    FileSystem,
    HygonDtkVariables,
    KernelVariables,
    NvidiaDriverVariables,
    RdmaVariables,
    RebootVariables,
    StorageVariables,
    Variables,
)


def machine_variables(fleet: Fleet, host: Host) -> Iterator[Variables]:
    """What each of these roles is given, where the profile has a section for it."""
    profile, site = fleet.profile, fleet.site
    repositories, proxy = site.repositories, site.proxy
    if profile.storage:
        yield StorageVariables(
            **profile.storage.model_dump(),
            file_systems=file_systems(fleet, host),
            erase=host.erase_disks,
            off_system_disk=_off_system_disk(fleet),
        )
    yield KernelVariables(**profile.kernel.model_dump())
    if profile.nvidia_driver:
        yield NvidiaDriverVariables(
            **profile.nvidia_driver.model_dump(),
            mig=sliced_cards(profile, fleet.accelerators),
            repository=repositories.nvidia,
            proxy=proxy,
        )
    if profile.cuda_toolkit:
        yield CudaToolkitVariables(**profile.cuda_toolkit.model_dump(), repository=repositories.nvidia, proxy=proxy)
    if profile.amd_rocm:
        yield AmdRocmVariables(
            **profile.amd_rocm.model_dump(),
            amdgpu_repository=repositories.amdgpu,
            repository=repositories.rocm,
            proxy=proxy,
        )
    if profile.ascend:
        parts = profile.ascend.parts
        yield AscendVariables(installers=tuple(one for one in site.artefacts.ascend if one.part in parts))
    if profile.hygon_dtk:
        wanted = profile.hygon_dtk.parts
        yield HygonDtkVariables(installers=tuple(one for one in site.artefacts.hygon_dtk if one.part in wanted))
    if profile.rdma:
        yield RdmaVariables(**profile.rdma.model_dump(), compute_network=site.networks.compute)
    if profile.container_runtime:
        yield ContainerRuntimeVariables(
            **profile.container_runtime.model_dump(),
            registry_mirrors=site.registry_mirrors,
            insecure_registries=(site.bundle.registry,) if site.bundle and site.bundle.registries else (),
            repository=repositories.docker,
            toolkit_repository=repositories.nvidia_container_toolkit,
            proxy=proxy,
            no_proxy=site.no_proxy,
        )
    yield RebootVariables(**profile.reboot.model_dump())


def file_systems(fleet: Fleet, host: Host) -> tuple[FileSystem, ...]:
    """The file systems of a host. A disk that holds several things is mounted at the folder that they share."""
    made = []
    for disk in fleet.profile.hardware.disks:
        if disk.name in host.disks:
            mount_point = fleet.profile.mount_point(disk)
            made.append(FileSystem(name=disk.name, device=host.disks[disk.name], mount_point=mount_point))
    return tuple(made)


def _off_system_disk(fleet: Fleet) -> tuple[str, ...]:
    uses = [use for disk in fleet.profile.hardware.disks for use in disk.holds if use != "system"]
    return tuple(fleet.profile.folders[use] for use in uses)
