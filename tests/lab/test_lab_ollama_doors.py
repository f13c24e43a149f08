"""Ollama and llama.cpp want one door of a twin: who comes takes it over, or gives it back. Ollama is SIMULATED."""

from __future__ import annotations

from typing import Any

import pytest
from deploy_bench import llama_cpp_data, llama_cpp_service
from test_lab_ollama import CHAT, FOLDER, NEW, QUESTION, WEIGHTS, Ollama, ollama  # noqa: F401  a twin of its own

from boxwright.lab.vendors.ollama import simulated_ollama

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(1200)]


def test_another_engine_behind_the_same_door_takes_over_or_gives_it_back(ollama: Ollama) -> None:  # noqa: F811
    key, weights = "lab-engine-key-31ce", f"{FOLDER}/{WEIGHTS.build.files[0].name}"
    units = (
        "ls /etc/systemd/system | grep -e '^ollama' -e '^llama-server'; nft list tables; ls /var/lib/boxwright/proven"
    )

    def llama_cpp(model_path: str) -> dict[str, Any]:
        return llama_cpp_data(ollama.boxes.lab, key, [llama_cpp_service(model_path=model_path)])

    assert ollama.changes(ollama.new)
    output, _ = ollama.boxes.deploy("llama_cpp", **llama_cpp("/srv/models/none.gguf")).communicate(timeout=600)
    assert "serve-unit: ollama.service serves smollm2-135m-instruct again, with the files that it had." in output
    assert ollama.serves == NEW
    assert "llama-server" not in ollama.on(units)
    assert ollama.changes(ollama.new) == 0

    assert ollama.boxes.changes("llama_cpp", **llama_cpp(weights))
    status, answer = ollama.boxes.call(ollama.twin, CHAT, QUESTION, key)
    assert (status, "Paris" in answer["choices"][0]["message"]["content"]) == (200, True)
    assert ollama.on(units).split() == ["llama-server.service", "llama-server.service"]
    assert ollama.on("ls /etc/ollama /var/lib/prometheus/node-exporter/*ollama* 2>/dev/null || :") == ""

    output = ollama.refused(simulated_ollama("0.33.8", print, serve="ends"))
    told = "run-ollama: llama-server.service serves smollm2-135m-instruct again, with the files that it had."
    assert told in output, output[-3000:]
    assert ollama.on(units).split() == ["llama-server.service", "llama-server.service"]
    assert ollama.boxes.call(ollama.twin, CHAT, QUESTION, key)[0] == 200
    assert ollama.boxes.changes("llama_cpp", **llama_cpp(weights)) == 0

    assert ollama.changes(ollama.new)
    assert ollama.serves == NEW
    assert "llama-server" not in ollama.on(units)
    assert ollama.changes(ollama.new) == 0
