"""A model of many bytes that no engine loads, and a site of twins that get it from the controller."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML

from boxwright.lab import Lab, RunningTwin
from boxwright.model.catalogues import load_models

PROFILE = """name: bulk
summary: many bytes under a model's name
hardware:
  cpu: {sockets: 1, cores_per_socket: 2}
  memory_gib: 4
  disk_gib: 4
stack:
  engine: llama_cpp
  model: bulk
  open_webui_flavour: slim
"""


def add_bulk_model(
    lab: Lab, twins: Sequence[RunningTwin], folder: Path, content: bytes, url: str = "http://hub.invalid/bulk.gguf"
) -> tuple[tuple[str, ...], str]:
    """Write profile, catalogue, the file itself, and a site whose controller has it.

    Args:
        lab: Of the twins.
        twins: The site's.
        folder: Where to write.
        content: Of the file.
        url: Of the file, where a site's controller has it not.

    Returns:
        Words of `provision`, and where the file is to lie on a box.
    """
    real = load_models().find("smollm2")
    assert real
    (folder / "weights").mkdir()
    (folder / "weights/bulk.gguf").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    file = {"name": "bulk.gguf", "bytes": len(content), "sha256": digest, "url": url}
    described = real.model_dump(mode="json", exclude_defaults=True)
    build = described["builds"][0] | {"name": "q4_1", "files": [file]}
    model = described | {"id": "bulk", "aliases": [], "builds": [build]}
    YAML(typ="safe").dump({"models": [model]}, folder / "models.yml")
    (folder / "bulk.yml").write_text(PROFILE)
    rows = "".join(f"  - {{name: {twin.name}, address: {twin.address}}}\n" for twin in twins)
    (folder / "site.yml").write_text(
        f"name: bulk\nhosts:\n{rows}"
        f"ssh: {{key: {twins[0].key}, known_hosts: {twins[0].known_hosts}, connect_timeout_s: 5}}\n"
        f"proxy: {lab.proxy_url}\nca_certificates: [{', '.join(map(str, lab.ca_certificates))}]\n"
        f"models: {{catalogues: [{folder}/models.yml], controller_folders: [{folder}/weights]}}\n"
    )
    words = ("--profile", str(folder / "bulk.yml"), "--site", str(folder / "site.yml"), "--yes")
    return words, "/srv/models/bulk/q4_1/bulk.gguf"
