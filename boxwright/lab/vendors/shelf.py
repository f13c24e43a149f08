"""The simulated vendors of a lab: a repository for each vendor of packages, and installers of those that have none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from boxwright.lab.commands import remove_tree
from boxwright.lab.supervisor import GUEST_VENDORS
from boxwright.lab.vendors.amd import amdgpu_packages, rocm_packages
from boxwright.lab.vendors.cuda import cuda_packages, dcgm_packages, nccl_packages
from boxwright.lab.vendors.docker import container_toolkit_packages, docker_packages
from boxwright.lab.vendors.installers import ascend_installers, hygon_installers
from boxwright.lab.vendors.nvidia import nvidia_packages
from boxwright.lab.vendors.repository import KEY, Package, build
from boxwright.model.base import Frozen
from boxwright.model.site import Artefacts, PackageRepository, Repositories


class Shelf(Frozen):
    """What a site says for twins: repositories by their place in the twin, installers by theirs on this machine."""

    repositories: Repositories
    artefacts: Artefacts


def packages() -> dict[str, Iterable[Package]]:
    """What each repository offers. Where a pin decides, versions that nobody wants stand beside the wanted one."""
    return {
        "nvidia": [
            *nvidia_packages(["570.195.03-1", "580.95.05-1", "590.44.01-1"]),
            *cuda_packages(["12.9.1", "13.0.2", "13.1.0"]),
            *nccl_packages(["2.28.9-1+cuda12.9", "2.28.9-1+cuda13.0", "2.30.4-1+cuda14.0"]),
            *dcgm_packages("1:4.5.2-1", ["12", "13"]),
        ],
        "nvidia_container_toolkit": container_toolkit_packages(["1.17.7-1", "1.18.0-1"]),
        "docker": docker_packages(["5:28.5.1-1~simulated"]),
        "amdgpu": amdgpu_packages(["6.16.13.30300000-2238411.24.04", "6.16.13.30300400-2341068.24.04"]),
        "rocm": rocm_packages(["7.1.0", "7.2.0", "7.2.4"]),
    }


def ensure(folder: Path, progress: Callable[[str], None]) -> None:
    """Fill the folder, unless it is whole already.

    Raises:
        LabError: dpkg-deb or gpg is missing or failed.
    """
    if _record(folder).exists():
        return
    progress("Making SIMULATED vendors for the twins: packages and installers under vendors' names that drive nothing")
    draft = folder.with_suffix(".draft")
    for old in (draft, folder):
        if old.exists():
            remove_tree(old)
    repositories = {name: _repository(draft, name, offered) for name, offered in packages().items()}
    draft.rename(folder)
    shelf = Shelf(repositories=Repositories(**repositories), artefacts=_installers(folder / "installers"))
    _record(folder).write_text(shelf.model_dump_json(indent=1))


def read(folder: Path) -> Shelf:
    """What `ensure` has made."""
    return Shelf.model_validate_json(_record(folder).read_text())


def here(folder: Path) -> Shelf:
    """The same, whose repositories are named by their places on this machine."""
    made = read(folder)
    moved = {
        name: source.model_copy(
            update={field: getattr(source, field).replace(GUEST_VENDORS, str(folder)) for field in ("uri", "key_url")}
        )
        for name, source in made.repositories
        if source
    }
    return made.model_copy(update={"repositories": made.repositories.model_copy(update=moved)})


def _record(folder: Path) -> Path:
    return folder / "shelf.json"


def _installers(folder: Path) -> Artefacts:
    folder.mkdir()
    return Artefacts(
        ascend=tuple(ascend_installers(folder).values()), hygon_dtk=tuple(hygon_installers(folder).values())
    )


def _repository(shelf: Path, name: str, offered: Iterable[Package]) -> PackageRepository:
    folder, place = shelf / name, f"file://{GUEST_VENDORS}/{name}"
    folder.mkdir(parents=True)
    fingerprint = build(folder, offered)
    return PackageRepository(uri=place, key_url=f"{place}/{KEY}", key_fingerprint=fingerprint)
