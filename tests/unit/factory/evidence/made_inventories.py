"""An inventory with something of each kind, as a box tells it."""

from __future__ import annotations

import json
from typing import Any

from boxwright.factory.evidence.inventory import Inventory

DIGESTS = {
    name: f"{number:064x}" for number, name in enumerate(("deb", "unpacked", "record", "weights", "image", "ko"))
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
RECEIPT: dict[str, Any] = {
    "boxwright_version": "0.1.0", "by": "ada@bench", "digests": {}, "host": "box-1", "profile": "8x4090",
    "provisioned_at": "2026-11-01T09:00:00Z", "run": "20261101-085000-5f3a1c", "site": "acme",
    "source_revision": COMMIT, "stages": ["base", "gateway"], "started_at": "2026-11-01T08:50:00Z",
}  # fmt: skip


def told(**changes: Any) -> dict[str, Any]:
    """What the box tells."""
    return {
        "system": {"id": "debian", "version": "12", "title": "Debian 12", "codename": "bookworm", "kernel": "6.1.0-1"},
        "twin": False,
        "receipt": json.dumps(RECEIPT),
        "packages": [
            {
                "name": "libstdc++6", "version": "12.2.0-14+deb12u1", "architecture": "amd64", "source": "gcc-12",
                "source_version": "12.2.0-14+deb12u1", "licenses": ["GPL-2+", "MIT"], "sha256": DIGESTS["deb"],
                "simulated": False,
            },
            {
                "name": "nvidia-open", "version": "575.57-1", "architecture": "all", "source": "nvidia-open",
                "source_version": "575.57-1", "licenses": [], "sha256": "", "simulated": True,
            },
        ],
        "programs": [
            {
                "name": "open-webui", "version": "slim-1", "links": ["current"], "simulated": False, "packages": [],
                "wheels": [
                    {"name": "Typing_Extensions", "version": "4.15.0", "expression": "PSF-2.0", "licenses": [],
                     "license": "", "record_sha256": DIGESTS["record"]},
                    {"name": "a-text", "version": "1", "expression": "", "licenses": ["MIT License"],
                     "license": "the whole text of a licence " * 9, "record_sha256": ""},
                    {"name": "two", "version": "1", "expression": "MIT OR Apache-2.0", "licenses": [], "license": "",
                     "record_sha256": ""},
                ],
                "build": {},
            },
            {
                "name": "llama-cpp", "version": "b11312-0123", "links": ["current"], "simulated": False, "wheels": [],
                "packages": [],
                "build": {"cmake": ["-DGGML_CUDA=ON", "-DLLAMA_BUILD_COMMIT=bc1ab17"], "source_sha256": "ab" * 32},
            },
            {
                "name": "python3.11", "version": "3.11.2-6", "links": ["current"], "simulated": False, "wheels": [],
                "packages": [{"name": "python3.11", "version": "3.11.2-6", "sha256": DIGESTS["unpacked"]}], "build": {},
            },
        ],
        "models": [
            {
                "name": "qwen3-30b-a3b/bf16", "converted": False,
                "files": [{"name": "model-1.safetensors", "bytes": 7, "sha256": DIGESTS["weights"]}],
            },
            {"name": "mine/q4", "converted": True, "files": [{"name": "a.gguf", "bytes": 9, "sha256": ""}]},
        ],
        "images": [
            {"repository": "images.example/vllm/vllm-openai", "tag": "v1", "digest": f"sha256:{DIGESTS['image']}",
             "id": "sha256:" + "1" * 64},
            {"repository": "local", "tag": "<none>", "digest": "<none>", "id": "sha256:" + "2" * 64},
        ],
        "modules": [
            {"name": "nvidia", "path": "/lib/modules/6.1.0-1/updates/dkms/nvidia.ko", "version": "575.57",
             "license": "Dual MIT/GPL", "sha256": DIGESTS["ko"]},
        ],
    } | changes  # fmt: skip


def inventory(**changes: Any) -> Inventory:
    """The same, read."""
    return Inventory.model_validate_json(json.dumps(told(**changes)))
