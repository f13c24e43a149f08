"""Makes an image of a tree that was provisioned: seals it, lists it, packs it. A process with mounts of its own.

    python -m boxwright.factory.image.finishing ORDER.json

It is started in a mount namespace, so that nothing it mounts is left, even if it is killed. Words that may be in no
file of the image come by standard input, a JSON list: they are secrets. What it is at goes to standard output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from boxwright.errors import BoxwrightError
from boxwright.factory.bundle import digest_of
from boxwright.factory.image import disk, filesystem
from boxwright.factory.image.first_boot import place
from boxwright.factory.image.identity import Identity
from boxwright.factory.image.listing import listing
from boxwright.factory.image.normalising import normalise
from boxwright.factory.image.sealing import seal

TREE, SEALED = "tree.txt", "sealed.txt"
FAILED = "failed: "  # before what went wrong, as JSON


@dataclass(frozen=True)
class Order:
    """What to make of what."""

    lower: str  # the operating system as it was unpacked
    upper: str  # what provisioning wrote over it
    work: str  # an empty folder, of the same filesystem as `upper`
    to: str  # where image and lists go
    image: str  # the name of the image's file
    identity: Identity
    authorized_key: str  # whose owner may enter as root

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def load(cls, text: str) -> Order:
        """From JSON."""
        values = json.loads(text)
        return cls(**{**values, "identity": Identity(**values["identity"])})


def finish(order: Order, forbidden: list[bytes]) -> None:
    """Make the image.

    Raises:
        BoxwrightError: Something is in it that must not be, or a tool failed.
    """
    work, to = Path(order.work), Path(order.to)
    tree, look = work / "tree", work / "look"
    for folder in (tree, look, work / "overlay"):
        folder.mkdir()
    options = f"lowerdir={order.lower},upperdir={order.upper},workdir={work}/overlay"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "boxwright-image", tree], check=True)
    _say("Sealing what was provisioned")
    gone = seal(tree)
    (to / SEALED).write_text("".join(f"/{path}\n" for path in gone))
    place(tree, order.identity, order.authorized_key)
    normalise(tree, order.identity.epoch)
    _say("Looking through every file, and listing it")
    (to / TREE).write_text(listing(tree, forbidden))
    layout = disk.Layout(root_mib=filesystem.size_mib(tree))
    _say(f"Packing {layout.root_mib} MiB of ext4")
    root, esp = work / "root.ext4", work / "esp.fat"
    filesystem.write(tree, root, layout.root_mib, order.identity, look)
    disk.write_boot_partition(disk.boot_partition(tree, order.identity), esp, order.identity)
    _say("Putting the disk together")
    draft = to / f".{order.image}"
    try:
        disk.assemble(draft, esp, root, layout, order.identity)
        sha256 = digest_of(draft)
        draft.replace(to / order.image)
    finally:
        draft.unlink(missing_ok=True)
    (to / f"{order.image}.sha256").write_text(f"{sha256}  {order.image}\n")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a program of its own


def main(path: str) -> int:
    """Do what an order says."""
    os.umask(0o022)
    try:
        finish(Order.load(Path(path).read_text()), [word.encode() for word in json.load(sys.stdin)])
    except BoxwrightError as error:
        told = {"message": error.message, "where": error.where, "hint": error.hint, "output": error.output}
        _say(FAILED + json.dumps(told))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
