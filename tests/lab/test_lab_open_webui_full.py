"""Open WebUI with all that it names: people ask about a document that they gave it, on a box that reaches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from chat_page_box import EMAIL, PASSWORD, STATE, ChatPage
from deploy_bench import Boxes, deploy_bench, llama_cpp_data, llama_cpp_service, llama_cpp_words, models_data

from boxwright.lab import Lab, TwinSpec
from boxwright.mirrors import resolve
from boxwright.model.catalogues import load_models
from boxwright.model.debian_packages import DEBIAN_KEYRING
from boxwright.model.hardware import Cpu, Hardware
from boxwright.model.site import Mirrors

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(1500)]

KEY = "lab-engine-key-8d51"
MINILM = "all-minilm-l6-v2"
FOLDER = "/srv/models/all-minilm-l6-v2/fp32"
CHAT = llama_cpp_service(port=8081)
# SmolLM2 makes vectors, and bad ones: it stands for an engine that serves an embedding model.
VECTORS = CHAT | {
    "unit": "llama-server-vectors",
    "model_name": "vectors",
    "port": 8082,
    "arguments": [*llama_cpp_words(context_tokens=512), "--embedding", "--pooling", "mean"],
}
BY_THE_PAGE = {
    "BYPASS_EMBEDDING_AND_RETRIEVAL": "false",
    "RAG_EMBEDDING_ENGINE": "",
    "RAG_EMBEDDING_MODEL": FOLDER,
    "RAG_EMBEDDING_BATCH_SIZE": "32",
    "ENABLE_RETRIEVAL_QUERY_GENERATION": "false",
}
BY_AN_ENGINE = BY_THE_PAGE | {
    "RAG_EMBEDDING_ENGINE": "openai",
    "RAG_EMBEDDING_MODEL": "vectors",
    "RAG_OPENAI_API_BASE_URL": "http://127.0.0.1:8082/v1",
}
PILOT = "The harbour pilot of Blauwasser is called Henrietta Quist. She has steered ships since 1987."
BAKER = "The baker of Rotfels is called Bruno Amsel. His bread is known for its crust."


def build(lab: Lab, name: str, folder: str) -> dict[str, Any]:
    model = load_models().find(name)
    assert model
    data = models_data(lab, folder, [file.model_dump() for file in model.builds[0].files])
    return data["models_builds"][0] | {"name": f"{name}/build"}


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    hardware = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=6, disk_gib=8)
    spec = TwinSpec("full", "debian-13", hardware)
    with deploy_bench("test-page-full", [spec], tmp_path_factory.mktemp("full")) as made:
        mirrors = resolve(Mirrors())
        assert mirrors.wheels, "say by pip's find-links where torch for processors is"
        made.data = {
            **models_data(made.lab, "/unused", []),
            "models_builds": [build(made.lab, "smollm2", "/srv/models/smollm2"), build(made.lab, MINILM, FOLDER)],
            **llama_cpp_data(made.lab, KEY, [CHAT, VECTORS]),
            "open_webui_flavour": "full",
            "open_webui_version": "0.12.4",
            "open_webui_port": 3000,
            "open_webui_connections": [{"url": "http://127.0.0.1:8081/v1", "api_key": KEY}],
            "open_webui_embedding_key": KEY,
            "open_webui_settings": BY_THE_PAGE,
            "open_webui_engine_units": ["llama-server", "llama-server-vectors"],
            "open_webui_backups": 3,
            "open_webui_public_url": "https://box.example.org",
            "open_webui_secret_key": "lab-secret-key-1c07",
            "open_webui_admin_email": EMAIL,
            "open_webui_admin_password": PASSWORD,
            "open_webui_python_index": mirrors.python_index,
            "open_webui_wheels": list(mirrors.wheels),
            "open_webui_debian_mirror": mirrors.debian,
            "open_webui_debian_keyring": DEBIAN_KEYRING,
            "open_webui_debian_check_valid_until": mirrors.check_valid_until,
            "open_webui_proxy": made.lab.proxy_url,
        }
        yield made


def asked_about_documents(page: ChatPage) -> str:
    """Give the page two documents, and ask about one of them."""
    documents = [page.upload("pilot.txt", PILOT), page.upload("baker.txt", BAKER)]
    collections = [f"file-{document['id']}" for document in documents]
    query = {"collection_names": collections, "query": "Who steers ships in the harbour?", "k": 1}
    status, found = page.call("/api/v1/retrieval/query/collection", query)
    assert status == 200, found
    assert found["documents"][0][0].startswith("The harbour pilot"), found
    return page.answer(
        messages=[{"role": "user", "content": "What is the name of the harbour pilot of Blauwasser?"}],
        files=[{"type": "file", "id": documents[0]["id"], "name": "pilot.txt"}],
        max_tokens=60,
    )


def test_people_ask_about_their_documents(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    for deploy in ("models", "llama_cpp", "open_webui"):
        assert boxes.changes(deploy)
    assert boxes.changes("open_webui") == 0
    page = ChatPage(boxes, twin).signed_in()
    assert "Quist" in asked_about_documents(page)
    environment = boxes.on(twin, "cat /opt/boxwright/open-webui/current/etc/environment")
    assert 'HF_HUB_OFFLINE="1"' in environment
    log = boxes.on(twin, "journalctl -u open-webui --no-pager -o cat")
    assert "Error loading SentenceTransformer" not in log


def test_an_engine_of_the_box_makes_the_vectors(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    assert boxes.changes("open_webui", open_webui_settings=BY_AN_ENGINE) == 2  # the settings, and the page
    page = ChatPage(boxes, twin).signed_in()
    assert "Quist" in asked_about_documents(page)
    # Each document's vectors are as long as those of the model that made them: MiniLM's in the page, then the engine's.
    lengths = page.sql("select distinct dimension from collections order by 1", f"{STATE}/vector_db/chroma.sqlite3")
    assert lengths == "[(384,), (576,)]"


def test_documents_and_vectors_are_saved_before_another_flavour_runs(boxes: Boxes) -> None:
    (twin,) = boxes.twins
    assert boxes.changes("open_webui", open_webui_flavour="slim", open_webui_settings={})
    saved = boxes.on(twin, "cd /var/lib/boxwright/open-webui/*-full-0.12.4-*; ls; ls vector_db").split()
    assert {"identity.json", "webui.db", "vector_db", "chroma.sqlite3"} <= set(saved)
    page = ChatPage(boxes, twin).signed_in()
    document = page.upload("baker.txt", BAKER)  # a slim page gives it to the model whole
    assert "Bruno" in page.answer(
        messages=[{"role": "user", "content": "What is the name of the baker of Rotfels?"}],
        files=[{"type": "file", "id": document["id"], "name": "baker.txt"}],
        max_tokens=60,
    )
