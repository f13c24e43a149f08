"""Where weights come from: every address that a site allows, in its order, and no secret among the variables' names."""

from __future__ import annotations

import pytest

from boxwright.model.catalogue import Build, HubRepository, ModelFile, Pin
from boxwright.model.catalogues import load_accelerators, load_models, load_profile, make_fleet
from boxwright.model.site import Host, Mirrors, ModelSources, Site
from boxwright.planning.weights import hub_address, wanted_builds

FILE = ModelFile(name="m 1.gguf".replace(" ", "-"), path="UD-Q2_K_XL/m+1.gguf", bytes=5, sha256="ab" * 32)
BUILD = Build(
    name="q2",
    format="gguf",
    quantization="Q2",
    huggingface=HubRepository(repository="a/b", revision="refs/pr/1"),
    modelscope=HubRepository(repository="c/d"),
    ollama="some-model:7b",
    files=(FILE,),
)


@pytest.mark.parametrize(
    ("hub", "address"),
    [
        ("huggingface", "https://huggingface.co/a/b/resolve/refs%2Fpr%2F1/UD-Q2_K_XL/m%2B1.gguf"),
        (
            "modelscope",
            "https://modelscope.cn/api/v1/models/c/d/repo?Revision=master&FilePath=UD-Q2_K_XL%2Fm%2B1.gguf",
        ),
        ("ollama", f"https://registry.ollama.ai/v2/library/some-model/blobs/sha256:{'ab' * 32}"),
    ],
)
def test_each_hub_is_asked_as_it_wants_to_be(hub: str, address: str) -> None:
    assert hub_address(BUILD, FILE, hub, Mirrors()) == address  # type: ignore[arg-type]


def test_a_mirror_takes_the_hubs_place() -> None:
    mirrors = Mirrors(huggingface="https://hub.corp.example/hf/")
    address = hub_address(BUILD, FILE, "huggingface", mirrors)
    assert address
    assert address.startswith("https://hub.corp.example/hf/a/b/resolve/")


def test_an_ollama_user_is_no_library() -> None:
    build = BUILD.model_copy(update={"ollama": "somebody/model:latest"})
    address = hub_address(build, FILE, "ollama", Mirrors())
    assert address
    assert "/v2/somebody/model/blobs/" in address


def test_a_site_says_which_hubs_come_first() -> None:
    site = Site(
        name="s",
        hosts=(Host(name="a", address="192.0.2.1"),),
        models=ModelSources(hubs=("modelscope", "huggingface")),
    )
    pin = Pin(model="deepseek-r1-distill-qwen-7b", build="bf16", files=(FILE,))
    catalogue = load_models().with_pins([pin])
    profile = load_profile("4x4090")
    stack = profile.stack.model_copy(update={"model": pin.model, "build": None})
    fleet = make_fleet(profile.model_copy(update={"stack": stack}), site, catalogue, load_accelerators())
    build = wanted_builds(fleet)[0]
    assert build.name == "deepseek-r1-distill-qwen-7b/bf16"
    assert build.directory.endswith("/deepseek-r1-distill-qwen-7b/bf16")
    (file,) = build.files
    assert [url.split("/")[2] for url in file.urls] == ["modelscope.cn", "huggingface.co"]
