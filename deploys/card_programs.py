"""What loads NVIDIA's cards in a burn-in: built by the first box with its own CUDA toolkit, and kept for all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pyinfra import host

from boxwright.model.card_programs import FOLDERS, PLACE
from boxwright.model.debian_packages import CARD_COMPILERS
from deploys.facts.files import ProgramOnBox
from deploys.operations.builds import WORK, Program, built_program
from deploys.operations.files import REQUESTS, program_text, request_text, written_file
from deploys.operations.install import folders, program
from deploys.operations.shelf import key_of

data = host.data
COMPILERS = "/opt/boxwright/card-compilers"


def compilers_request() -> str:
    """Write what install-debian-root is to unpack where something is built; return the file."""
    request = f"{REQUESTS}/card-compilers.json"
    written_file(
        name="Write what packages the compilers are, and where they come from",
        content=request_text(
            destination=COMPILERS,
            mirror=data.card_programs_debian_mirror,
            keyring=data.card_programs_debian_keyring,
            check_valid_until=data.card_programs_debian_check_valid_until,
            version_of="g++-12",
            check=["usr/bin/cmake", "--version"],
            chroot=True,
            proxy=data.card_programs_proxy,
            **CARD_COMPILERS.request,
        ),
        dest=request,
        mode="600",
    )
    return request


def from_source(build: dict[str, Any], compilers: str) -> None:
    """Have one program, built for this box's cards."""
    name, listfile = build["name"], program_text(f"card_programs/{build['name']}.cmake")
    key = key_of(
        {name: build[name] for name in ("tree", "cmake", "made", "mounts", "copied")}
        | {"listfile": listfile, "packages": list(CARD_COMPILERS.packages), "suites": list(CARD_COMPILERS.suites)}
    )
    source = Path(build["source"]) if build["source"] else None
    place = f"{WORK}/{name}-source.tar"
    request = f"{REQUESTS}/{name}-build.json"
    written_file(
        name=f"Write how {name} is built",
        content=request_text(
            key=key,
            work=WORK,
            source={
                "sha256": hashlib.sha256(source.read_bytes()).hexdigest() if source else "",
                "folder": None,
                "path": place,
            },
            compilers=f"{COMPILERS}/current",
            mounts=build["mounts"],
            written={"CMakeLists.txt": listfile},
            copied=build["copied"],
            cmake=build["cmake"],
            targets=build["made"],
            record={"version": build["version"], "tree": build["tree"]},
        ),
        dest=request,
        mode="600",
    )
    built_program(
        name=f"Install {name} {build['version']}, built for this box's cards",
        program=Program(
            key=key,
            destination=f"{PLACE}/{name}",
            version=f"{build['version']}-{key}",
            cpu_flags=(),
            check=(build["program"], "-h"),
            requests=(compilers, request),
            source=(source, place) if source else None,
            shelf=Path(data.card_programs_shelf).expanduser(),
            compilers=COMPILERS,
            lacking=build["lacking"],
        ),
    )


# What a person has put there is used as it is.
wanted = [
    build
    for build in data.card_programs_builds
    if host.get_fact(ProgramOnBox, program=build["program"], folders=FOLDERS) is None
]
if wanted:
    folders()
    program("install-debian-root", "debian_root/install_debian_root.py")
    program("build-program", "built_program/build_program.py")
    program("install-program", "built_program/install_program.py")
    request = compilers_request()
    for build in wanted:
        from_source(build, request)
