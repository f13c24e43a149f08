"""GGUF files merged or split by llama.cpp's own tool, for an engine or a disk that wants them in other pieces."""

from __future__ import annotations

from pyinfra import host

from boxwright.model.debian_packages import DEBIAN_KEYRING
from deploys.facts.files import UnpackedVersion
from deploys.operations.files import REQUESTS, request_text, written_file
from deploys.operations.gguf import packaged_tool, reshaped_gguf
from deploys.operations.install import debian_root, folders, program

data = host.data
# A root of its own: an engine's may be older than the tool, and is not replaced for it.
DESTINATION = "/opt/boxwright/gguf-tools"
REQUEST = f"{REQUESTS}/gguf-tools.json"

folders()
program("install-debian-root", "debian_root/install_debian_root.py")
written_file(
    name="Write what package has llama-gguf-split, and where it comes from",
    content=request_text(
        destination=DESTINATION,
        mirror=data.gguf_debian_mirror,
        keyring=DEBIAN_KEYRING,
        check_valid_until=data.gguf_debian_check_valid_until,
        suites=["forky", "sid"],
        packages=["llama.cpp-tools-extra"],
        with_dependencies=True,
        provided=["debconf", "wget"],
        version_of="llama.cpp-tools-extra",
        check=["usr/bin/llama-gguf-split", "--version"],
        chroot=True,
        proxy=data.gguf_proxy,
    ),
    dest=REQUEST,
    mode="600",
)
debian_root(name="Unpack llama-gguf-split", destination=DESTINATION, request=REQUEST)
ROOT = f"{DESTINATION}/{host.get_fact(UnpackedVersion, folder=DESTINATION, marker='MANIFEST') or 'current'}"
for wanted in data.gguf_files:
    reshaped_gguf(
        name=f"Make {wanted['destination'].rpartition('/')[2]} of {wanted['source'].rpartition('/')[2]}",
        source=wanted["source"],
        destination=wanted["destination"],
        tool=packaged_tool(ROOT),
        largest_mb=wanted["largest_mb"],
    )
