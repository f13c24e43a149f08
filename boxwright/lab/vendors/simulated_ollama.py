#!/usr/bin/python3
"""Ollama, SIMULATED: what Boxwright needs of its command line and its API, and no line of Ollama's own.

It stands where an archive of Ollama has `bin/ollama`. Models are kept as Ollama keeps them: blobs by digest, a manifest
for each name. Answers come from a real llama-server, `lib/ollama/llama-server`, which is started as Ollama since 0.30
starts its own: with the environment that the service has. `lib/ollama/SIMULATED.json` beside it says which release it
takes the name of, and how it is to misbehave: `serve` ends it at once, `on_cards` is the share of a model that it says
to be on cards.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib/ollama"))

from simulated_ollama_server import VERSION, host, say, serve  # type: ignore[import-not-found]


class Client:
    """The command line, which asks the server."""

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Ask the server; whatever is wrong ends the program."""
        place, port = host()
        connection = http.client.HTTPConnection(place, port, timeout=600)
        data = body if body is None or hasattr(body, "read") else json.dumps(body)
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 400 and method != "HEAD":
            sys.exit(f"Error: {json.loads(text)['error']}")
        return answer.status if method == "HEAD" else json.loads(text)

    def create(self, name: str, modelfile: Path) -> None:
        """`ollama create NAME -f FILE`: hashes the files, sends those that the server lacks, has the model made."""
        source, parameters, template = read_modelfile(modelfile.read_text())
        files = {}
        for path in sorted(source.glob("*.gguf")) if source.is_dir() else [source]:
            with path.open("rb") as stream:
                digest = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
            if self.ask("HEAD", f"/api/blobs/{digest}") != 200:
                with path.open("rb") as stream:
                    self.ask("POST", f"/api/blobs/{digest}", stream, **{"Content-Length": str(path.stat().st_size)})
            files[path.name] = digest
        body = {"model": name, "files": files, "parameters": parameters, "template": template}
        self.ask("POST", "/api/create", body)
        say(f"success: {name} of {', '.join(files)}")


def read_modelfile(text: str) -> tuple[Path, dict[str, Any], str | None]:
    """Read FROM, PARAMETER and TEMPLATE."""
    template = None
    if '"""' in text:
        text, template, _ = text.replace('TEMPLATE """', '"""').split('"""')
    source, parameters = Path(), {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            source = Path(rest)
        elif word == "PARAMETER":
            key, _, value = rest.partition(" ")
            parameters[key] = float(value)
        elif word.strip():
            sys.exit(f"Error: command must be one of FROM, PARAMETER, TEMPLATE; found {word}")
    return source, parameters, template


def main(words: list[str]) -> int:
    """What of the command line Boxwright uses, and a person looks at."""
    client = Client()
    if words in (["--version"], ["-v"]):
        print(f"ollama version is {VERSION} SIMULATED")  # noqa: T201
        return 0
    match words:
        case ["serve"]:
            return int(serve())
        case ["create", name, "-f", path]:
            client.create(name, Path(path))
        case ["cp", source, destination]:
            client.ask("POST", "/api/copy", {"source": source, "destination": destination})
        case ["rm", name]:
            client.ask("DELETE", "/api/delete", {"model": name})
        case ["list"] | ["ls"]:
            for one in client.ask("GET", "/api/tags")["models"]:
                print(one["name"], one["digest"][:12], one["size"])  # noqa: T201
        case ["ps"]:
            for one in client.ask("GET", "/api/ps")["models"]:
                print(one["name"], one["size"], one["size_vram"])  # noqa: T201
        case _:
            sys.exit(f"Error: unknown command or flag for simulated Ollama: {' '.join(words)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
