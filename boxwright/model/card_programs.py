"""The programs that load NVIDIA's cards and that nobody has packages of: pinned source, and how it is built.

A pin is a release or commit of upstream's repository and the digest of its files as Nix has it. The digests are those
that the package collection nixpkgs publishes for the same commits, and builds from.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from boxwright.model.base import AbsolutePath, Frozen, Identifier

CARD_PROGRAMS_DEPLOY = "card_programs"
PLACE = "/opt/boxwright/card-programs"  # on the box
FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/usr/local/cuda/bin", "/opt/gpu-burn")


class CardProgram(Frozen):
    """One of them."""

    name: Identifier  # of the project, and of its folder on the box
    program: Identifier  # as a burn-in looks for it
    version: str  # for people, and for the name of the installed folder
    repository: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+/[A-Za-z0-9-]+$")]  # on GitHub
    revision: str  # a tag or a commit there
    tree: Annotated[str, Field(pattern=r"^sha256-[A-Za-z0-9+/]{43}=$")]
    beside: tuple[str, ...] = ()  # files that it reads from its own folder
    with_nccl: bool = False  # whether it is built with NCCL, which is on the box then

    @property
    def archive(self) -> str:
        """The path of its archive below GitHub's address, or a mirror's."""
        return f"{self.repository}/archive/{self.revision}.tar.gz"

    @property
    def made(self) -> tuple[str, ...]:
        """The files that a build leaves."""
        return (self.program, *self.beside)


class CopiedFiles(Frozen):
    """Files of the box that a build gets a copy of."""

    pattern: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/*-]+$")]  # as a shell matches it
    folder: Identifier  # of the source, where they are put


class CardProgramBuild(Frozen):
    """How one of them is built for the cards of a box."""

    name: Identifier
    program: Identifier
    version: str
    tree: str
    source: str | None  # its archive on the controller; None: it has none, and what was built before must do
    lacking: str  # why it has none, and what to do; empty where it has
    cmake: tuple[str, ...]
    made: tuple[str, ...]
    mounts: tuple[AbsolutePath, ...]
    copied: tuple[CopiedFiles, ...]


CARD_PROGRAMS = (
    CardProgram(
        name="gpu-burn",
        program="gpu_burn",
        version="2026-05-27",
        repository="wilicc/gpu-burn",
        revision="dfc30426a45613a36b5da53ef901a1e29d3db374",
        tree="sha256-/gDD6t3gGtPEZVageQyVRIb87gTa0yeygE45zmOVli4=",
        beside=("compare.fatbin",),
    ),
    CardProgram(
        name="nvbandwidth",
        program="nvbandwidth",
        version="0.9",
        repository="NVIDIA/nvbandwidth",
        revision="v0.9",
        tree="sha256-j1bKWXHIkjsE/M+w5rRF0UGjkj1gLA2yi+5hc1sWl/A=",
    ),
    CardProgram(
        name="nccl-tests",
        program="all_reduce_perf",
        version="2.17.6",
        repository="NVIDIA/nccl-tests",
        revision="v2.17.6",
        tree="sha256-F7F8UcBCX7nsuCNCzWHNY12QFtmYV10Jf785P39SHkM=",
        with_nccl=True,
    ),
)
