"""The packages of the distribution that a fleet's boxes are given. Pure."""

from __future__ import annotations

from boxwright.model.fleet import Fleet

# Triton compiles a launcher in C when an engine starts, and torch in C++ what of a model stays on the processor.
_COMPILERS = ("g++", "gcc", "libc6-dev")
_COMPILING = frozenset({"vllm", "ktransformers"})


def packages(fleet: Fleet) -> tuple[str, ...]:
    """Those of the profile, and what its engines cannot be unpacked or started without."""
    wanted = fleet.profile.base.packages
    return (*wanted, *(name for name in (*_unpacking(fleet), *_compiling(fleet)) if name not in wanted))


def _unpacking(fleet: Fleet) -> tuple[str, ...]:
    """What Ollama's archive is unpacked by."""
    archive = fleet.ollama_archive if "ollama" in {one.engine for one in fleet.profile.stack.services} else None
    return ("zstd",) if archive and archive.kind == "tar.zst" else ()


def _compiling(fleet: Fleet) -> tuple[str, ...]:
    """What engines compile with that serve from NVIDIA's cards and are in no container."""
    own = [one for one in fleet.profile.stack.services if one.engine in _COMPILING and fleet.profile.cards_of(one)]
    return _COMPILERS if own and not fleet.foreign_cards else ()
