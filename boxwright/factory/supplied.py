"""What a site has at hand, out of a bundle that has it: the site's own files may be elsewhere by now."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from boxwright.factory.bundle import Bundle
from boxwright.factory.lock import Lock
from boxwright.model.site import Artefact, Artefacts

Supplied = TypeVar("Supplied", bound=Artefact)


@contextmanager
def supplied(bundle: Bundle, lock: Lock, own: Artefacts) -> Iterator[Artefacts]:
    """What a site supplies, where that is in the bundle by its names there, for as long as the block takes.

    Args:
        bundle: Which has it by digests.
        lock: What of it.
        own: What the site names.
    """
    held = {one.sha256: one for kind in ("installer", "source") for one in lock.of(kind)}
    with tempfile.TemporaryDirectory(prefix="bw-supplied-") as folder:

        def out_of_bundle(one: Supplied) -> Supplied:
            if one.sha256 not in held:
                return one
            path = Path(folder, one.sha256, held[one.sha256].file)
            path.parent.mkdir(exist_ok=True)
            path.symlink_to(bundle.artefact(one.sha256).absolute())
            return one.model_copy(update={"path": str(path)})

        yield own.model_copy(
            update={
                "ascend": tuple(map(out_of_bundle, own.ascend)),
                "hygon_dtk": tuple(map(out_of_bundle, own.hygon_dtk)),
                "llama_cpp": own.llama_cpp and out_of_bundle(own.llama_cpp),
            }
        )
