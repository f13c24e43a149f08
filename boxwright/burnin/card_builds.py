"""How the programs for cards are built for a kind of box. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from boxwright.model.accelerators import AcceleratorCatalogue
from boxwright.model.card_programs import CARD_PROGRAMS, CardProgram, CardProgramBuild, CopiedFiles
from boxwright.model.profile import Profile
from boxwright.serving.llama_cpp_build import cuda_architectures, cuda_folder

# The C library is the box's own, and of NVIDIA's libraries what the toolkit has; all else is in the program.
_LINKED = "-s -static-libgcc -static-libstdc++ -Wl,-rpath,{folder}/lib64"
_NCCL = (
    CopiedFiles(pattern="/usr/include/nccl*", folder="nccl"),  # one header, and those of the device's side
    CopiedFiles(pattern="/usr/lib/x86_64-linux-gnu/libnccl.so.2", folder="nccl"),
)


def targets_of(profile: Profile, accelerators: AcceleratorCatalogue) -> tuple[str, ...]:
    """What compilers make code for, `sm_89`, of each kind of NVIDIA's cards that a machine has."""
    known = (accelerators.find(group.pci_id) for group in profile.hardware.accelerators)
    kinds = [found[0] for found in known if found]
    targets = {one.architecture.target for one in kinds if one.vendor == "nvidia" and one.architecture}
    return tuple(sorted(targets))


def card_builds(
    targets: Iterable[str], cuda: str, sources: dict[str, Path], lacking: dict[str, str]
) -> tuple[CardProgramBuild, ...]:
    """How each of the programs is built.

    Args:
        targets: From `targets_of`.
        cuda: Release of NVIDIA's toolkit on the box.
        sources: Archives on the controller, by the name of the project.
        lacking: Why there is none, by the same.
    """
    folder, architectures = cuda_folder(cuda), cuda_architectures(targets)
    return tuple(
        CardProgramBuild(
            name=one.name,
            program=one.program,
            version=one.version,
            tree=one.tree,
            source=str(sources[one.name]) if one.name in sources else None,
            lacking=lacking.get(one.name, ""),
            cmake=_options(one, folder, architectures),
            made=one.made,
            mounts=(folder,),
            copied=_NCCL if one.with_nccl else (),
        )
        for one in CARD_PROGRAMS
    )


def _options(program: CardProgram, folder: str, architectures: str) -> tuple[str, ...]:
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_CXX_COMPILER": "g++-12",
        "CMAKE_CUDA_COMPILER": f"{folder}/bin/nvcc",
        "CMAKE_CUDA_HOST_COMPILER": "g++-12",
        "CMAKE_CUDA_ARCHITECTURES": architectures,
        "CUDAToolkit_ROOT": folder,
        "CMAKE_SKIP_RPATH": "ON",
        "CMAKE_EXE_LINKER_FLAGS": _LINKED.format(folder=folder),
    }
    if program.name == "nvbandwidth":
        options["PROGRAM_VERSION"] = program.version  # git would tell, and there is none
    return tuple(f"-D{name}={value}" for name, value in options.items())
