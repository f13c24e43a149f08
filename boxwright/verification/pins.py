"""Which packages a box may not change by an upgrade, and the apt preferences that see to it. Pure."""

from __future__ import annotations

from boxwright.model.profile import Profile

# As the roles name them; a test holds these against the roles.
DOCKER = ("docker-ce", "docker-ce-cli", "containerd.io")
CONTAINER_TOOLKIT = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)
_FOLDER = "/etc/apt/preferences.d/boxwright-"


def held(profile: Profile) -> tuple[str, ...]:
    """Packages that must be installed and held, besides the driver's, which have a check of their own."""
    runtime, toolkit = profile.container_runtime, profile.cuda_toolkit
    return (
        *(DOCKER if runtime and runtime.source == "docker_ce" else ()),
        *(CONTAINER_TOOLKIT if runtime and runtime.gpu == "nvidia" else ()),
        *((f"cuda-toolkit-{toolkit.version.replace('.', '-')}",) if toolkit else ()),
    )


def preferences(profile: Profile) -> tuple[str, ...]:
    """The files that pin what the profile wants of vendors' repositories."""
    runtime = profile.container_runtime
    names = (
        *(("nvidia",) if profile.nvidia_driver else ()),
        *(("cuda",) if profile.cuda_toolkit else ()),
        *(("docker",) if runtime else ()),
        *(("container-toolkit",) if runtime and runtime.gpu == "nvidia" else ()),
        *(("amdgpu", "rocm") if profile.amd_rocm else ()),
    )
    return tuple(f"{_FOLDER}{name}" for name in names)
