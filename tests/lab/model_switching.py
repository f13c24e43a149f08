"""Two models for tests that switch: the lab's own under another name, and weights that no engine loads."""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from ruamel.yaml import YAML

from boxwright.model.catalogues import load_models

_POLL_S = 0.55  # the gateway allows two requests a second


def add_models(site: Path, folder: Path) -> None:
    """Let a site know a model `again`, which can be served, and one `broken`, which is verified and cannot."""
    real = load_models().find("smollm2")
    assert real
    junk = folder / "broken/q4_1/broken.gguf"
    junk.parent.mkdir(parents=True)
    junk.write_bytes(b"GGUF" + hashlib.sha256(b"no weights").digest() * 1000)
    digest = hashlib.sha256(junk.read_bytes()).hexdigest()
    file = {"name": junk.name, "bytes": junk.stat().st_size, "sha256": digest, "url": "http://hub.invalid/broken.gguf"}
    described = real.model_dump(mode="json", exclude_defaults=True)
    again = described | {"id": "again", "aliases": []}
    broken = again | {"id": "broken", "builds": [described["builds"][0] | {"files": [file]}]}
    catalogue = folder / "models.yml"
    YAML(typ="safe").dump({"models": [again, broken]}, catalogue)
    told = {"catalogues": [str(catalogue)], "controller_folders": [str(folder)]}
    site.write_text(f"{site.read_text()}models: {json.dumps(told)}\n")


class Visitor:
    """Somebody who has a long answer under way, and asks for the list of models all the time."""

    def __init__(self, address: str, authority: Path, key: str, model: str, *, most_tokens: int = 4000) -> None:
        self._client = httpx.Client(
            base_url=f"https://{address}",
            verify=ssl.create_default_context(cafile=str(authority)),
            headers={"Authorization": f"Bearer {key}"},
            trust_env=False,
            timeout=900,  # an answer is under way until the engine of before is ended
        )
        self._model, self._most_tokens = model, most_tokens
        self._gone = threading.Event()
        self.replies: list[httpx.Response] = []  # to questions for the list
        self.pages: set[int] = set()  # statuses of the chat page
        self.cut: httpx.Response | None = None  # the answer that was under way
        self.stream: list[str] = []  # the last line that a streamed one came to, or how it ended
        self._threads = [threading.Thread(target=work) for work in (self._ask, self._wait, self._read)]

    def __enter__(self) -> Visitor:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._gone.set()
        for thread in self._threads:
            thread.join()
        self._client.close()

    def _story(self, *, stream: bool) -> dict[str, Any]:
        words = [{"role": "user", "content": "Tell a very long story about a lighthouse."}]
        # The end of a sentence does not end it: it is under way until somebody ends it.
        most = {"max_tokens": self._most_tokens, "ignore_eos": True}
        return {"model": self._model, "messages": words, "stream": stream, **most}

    def _ask(self) -> None:
        while not self._gone.is_set():
            self.replies.append(self._client.get("/v1/models"))
            self.pages.add(self._client.get("/").status_code)
            time.sleep(_POLL_S)

    def _wait(self) -> None:
        self.cut = self._client.post("/v1/chat/completions", json=self._story(stream=False))

    def _read(self) -> None:
        try:
            with self._client.stream("POST", "/v1/chat/completions", json=self._story(stream=True)) as reply:
                self.stream += [line for line in reply.iter_lines() if line]
        except httpx.RemoteProtocolError:
            self.stream.append("closed")
