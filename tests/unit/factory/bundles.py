"""Bundles of a few small files, for the tests of this folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from boxwright.factory.bundle import Bundle
from boxwright.factory.lock import Artefact, Lock
from boxwright.signing import SigningKey
from boxwright.whole_files import write_whole

CONTENTS = {"alpha": b"alpha's bytes", "beta": b"beta's bytes" * 1000, "gamma": b"g"}


def artefact(name: str, data: bytes, **changes: Any) -> Artefact:
    fields = {
        "kind": "wheel",
        "name": name,
        "version": "1.0",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "file": f"{name}-1.0-py3-none-any.whl",
        "used_by": ("open_webui",),
    }
    return Artefact.model_validate(fields | changes)


def lock_of(contents: dict[str, bytes] = CONTENTS) -> Lock:
    artefacts = tuple(artefact(name, data) for name, data in contents.items())
    return Lock(profile="lab", distribution="debian-12", artefacts=artefacts)


def made_bundle(folder: Path, key: Path, contents: dict[str, bytes] = CONTENTS) -> Bundle:
    bundle, lock = Bundle(folder), lock_of(contents)
    for one, data in zip(lock.artefacts, contents.values(), strict=True):
        write_whole(bundle.artefact(one.sha256), data)
    write_whole(bundle.lock_file(lock.name), lock.text.encode())
    write_whole(bundle.lists(lock.name) / "dists/platform/InRelease", b"signed list\n")
    bundle.sign(SigningKey.kept_in(key), own=[lock.name])
    return Bundle(folder)
