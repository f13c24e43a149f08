"""The server of Ollama, SIMULATED: its API over a real llama-server. See `simulated_ollama.py`, which starts it."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).resolve().parent  # lib/ollama of the archive
_KIND = LIBRARY / "SIMULATED.json"
KIND: dict[str, Any] = json.loads(_KIND.read_text()) if _KIND.exists() else {"version": "none"}
VERSION = KIND["version"]
MODEL, PARAMETERS, TEMPLATE = (f"application/vnd.ollama.image.{kind}" for kind in ("model", "params", "template"))
CONTEXT = 4096


def say(text: str) -> None:
    """Write to the journal, and say what this is."""
    print(f"[SIMULATED Ollama {VERSION}] {text}", file=sys.stderr, flush=True)  # noqa: T201


def host() -> tuple[str, int]:
    """Where the server listens."""
    place, _, port = os.environ.get("OLLAMA_HOST", "127.0.0.1:11434").rpartition(":")
    return place or "127.0.0.1", int(port)


class Models:
    """The folder of models, as Ollama lays it out."""

    def __init__(self) -> None:
        self.root = Path(os.environ.get("OLLAMA_MODELS") or Path(os.environ["HOME"], ".ollama/models"))
        self.blobs, self.names = self.root / "blobs", self.root / "manifests/registry.ollama.ai/library"
        for folder in (self.blobs, self.names):
            folder.mkdir(parents=True, exist_ok=True)

    def blob(self, digest: str) -> Path:
        """Where a blob lies."""
        return self.blobs / digest.replace(":", "-")

    def put(self, content: bytes, kind: str) -> dict[str, Any]:
        """Keep a small layer."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blob(digest).write_bytes(content)
        return {"mediaType": kind, "digest": digest, "size": len(content)}

    def manifest(self, name: str) -> Path:
        """Where the manifest of a name lies."""
        model, _, tag = name.partition(":")
        return self.names / model / (tag or "latest")

    def read(self, name: str) -> dict[str, Any]:
        """The manifest of a name."""
        read: dict[str, Any] = json.loads(self.manifest(name).read_text())
        return read

    def create(self, name: str, files: dict[str, str], parameters: dict[str, Any], template: str | None) -> None:
        """Make a model of blobs."""
        missing = [digest for digest in files.values() if not self.blob(digest).is_file()]
        if missing:
            raise ValueError(f"blob not found: {missing[0]}")
        for path, digest in files.items():
            with self.blob(digest).open("rb") as stream:
                if stream.read(4) != b"GGUF":
                    raise ValueError(f"supplied file was not in GGUF format: {path}")
        layers = [
            {"mediaType": MODEL, "digest": digest, "size": self.blob(digest).stat().st_size, "from": path}
            for path, digest in sorted(files.items())
        ]
        if template:
            layers.append(self.put(template.encode(), TEMPLATE))
        if parameters:
            layers.append(self.put(json.dumps(parameters, sort_keys=True).encode(), PARAMETERS))
        manifest = self.manifest(name)
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(json.dumps({"schemaVersion": 2, "simulated": True, "layers": layers}))

    def prune(self) -> None:
        """Remove blobs that no manifest names, as Ollama does when it starts."""
        used = {layer["digest"] for path in self.names.glob("*/*") for layer in json.loads(path.read_text())["layers"]}
        for blob in self.blobs.iterdir():
            if blob.name.replace("-", ":", 1) not in used:
                say(f"removes {blob.name}, which no model has")
                blob.unlink()

    def listed(self) -> list[dict[str, Any]]:
        """All models, as /api/tags tells of them."""
        found = []
        for path in sorted(self.names.glob("*/*")):
            name, text = f"{path.parent.name}:{path.name}", path.read_bytes()
            size = sum(layer["size"] for layer in json.loads(text)["layers"])
            found.append({"name": name, "model": name, "size": size, "digest": hashlib.sha256(text).hexdigest()})
        return found


class Runner:
    """The one llama-server that is loaded."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.weights, self.names, self.port, self.size = "", set[str](), 0, 0

    def load(self, name: str) -> None:
        """Have the model of a name loaded."""
        layers = self.models.read(name)["layers"]
        weights = next(layer for layer in layers if layer["mediaType"] == MODEL)
        with self.lock:
            alive = self.process is not None and self.process.poll() is None
            if alive and self.weights == weights["digest"]:
                self.names.add(self._full(name))
                return
            self.stop()
            self._start(self._path(layers), name)
            self.weights, self.names, self.size = weights["digest"], {self._full(name)}, weights["size"]

    @staticmethod
    def _full(name: str) -> str:
        return name if ":" in name else f"{name}:latest"

    def _path(self, layers: list[dict[str, Any]]) -> Path:
        """What llama-server is told: the blob, or for shards links under the names that it knows them by."""
        shards = [layer for layer in layers if layer["mediaType"] == MODEL]
        if len(shards) == 1:
            return self.models.blob(shards[0]["digest"])
        folder = Path(os.environ["HOME"], "shards")
        folder.mkdir(exist_ok=True)
        for shard in shards:
            link = folder / Path(shard["from"]).name
            link.unlink(missing_ok=True)
            link.symlink_to(self.models.blob(shard["digest"]))
        return folder / Path(shards[0]["from"]).name

    def _start(self, path: Path, name: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        parallel = int(os.environ.get("OLLAMA_NUM_PARALLEL") or 1)
        context = int(os.environ.get("OLLAMA_CONTEXT_LENGTH") or CONTEXT)
        command = [str(LIBRARY / "llama-server"), "--model", str(path), "--alias", name, "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--offline", "-c", str(context * parallel), "-np", str(parallel)]
        command += ["--threads", str(max(1, (os.cpu_count() or 2) - 1))]
        say(f"starting llama-server: {' '.join(command)}")
        self.process = subprocess.Popen(command, env=os.environ, stdout=sys.stderr, stderr=sys.stderr)
        end = time.monotonic() + 300
        while time.monotonic() < end and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5).read()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise OSError("llama-server does not start")

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def loaded(self) -> list[dict[str, Any]]:
        """What /api/ps tells."""
        if self.process is None or self.process.poll() is not None:
            return []
        sizes = {"size": self.size, "size_vram": int(self.size * KIND["on_cards"])}
        context = {"context_length": int(os.environ.get("OLLAMA_CONTEXT_LENGTH") or CONTEXT)}
        return [{"name": name, "model": name, "digest": self.weights} | sizes | context for name in sorted(self.names)]


class Handler(BaseHTTPRequestHandler):
    """The API."""

    protocol_version = "HTTP/1.1"
    models: Models
    runner: Runner

    def log_message(self, *arguments: Any) -> None:
        """Keep the journal short."""

    def _known_host(self) -> bool:
        """Ollama on loopback answers to names of this machine alone."""
        name = (self.headers["Host"] or "").rpartition(":")[0] or self.headers["Host"] or ""
        return name in ("", "localhost", "127.0.0.1", socket.gethostname()) or name.endswith((".local", ".internal"))

    def _json(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        """Tell whether a blob is there."""
        blob = self.models.blob(self.path.rpartition("/")[2])
        self.send_response(200 if self.path.startswith("/api/blobs/") and blob.exists() else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        """Tell of versions and models."""
        if not self._known_host():
            self._json(403, {"error": "this host is not known"})
        elif self.path == "/api/version":
            self._json(200, {"version": VERSION, "simulated": True})
        elif self.path == "/api/tags":
            self._json(200, {"models": self.models.listed()})
        elif self.path == "/api/ps":
            self._json(200, {"models": self.runner.loaded()})
        elif self.path == "/v1/models":
            entries = [{"id": one["name"], "object": "model", "owned_by": "library"} for one in self.models.listed()]
            self._json(200, {"object": "list", "data": entries})
        else:
            self._json(404, {"error": "not found"})

    def do_DELETE(self) -> None:
        """Forget a model."""
        name = self._body().get("model", "")
        try:
            self.models.manifest(name).unlink()
            self._json(200, {})
        except OSError:
            self._json(404, {"error": f"model '{name}' not found"})

    def _body(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"{}")
        return read

    def do_POST(self) -> None:
        """Make models, load them, answer."""
        if not self._known_host():
            self.close_connection = True
            self._json(403, {"error": "this host is not known"})
            return
        if self.path.startswith("/api/blobs/"):
            self._receive(self.path.rpartition("/")[2])
            return
        body = self._body()
        name = body.get("model", "")
        try:
            if self.path == "/api/create":
                self.models.create(name, body["files"], body.get("parameters", {}), body.get("template"))
                self._json(200, {"status": "success"})
            elif self.path == "/api/copy":
                target = self.models.manifest(body["destination"])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.models.manifest(body["source"]).read_bytes())
                self._json(200, {})
            elif self.path == "/api/show":
                self._json(200, {"simulated": True, "model_info": self.models.read(name)})
            elif self.path in ("/api/generate", "/api/chat"):
                self.runner.load(name)
                self._answer(body)
            elif self.path.startswith("/v1/"):
                self.runner.load(name)
                self._pass(body)
            else:
                self._json(404, {"error": "not found"})
        except FileNotFoundError:
            self._json(404, {"error": f"model '{name}' not found"})
        except (ValueError, OSError) as error:
            self._json(400 if isinstance(error, ValueError) else 500, {"error": str(error)})

    def _receive(self, digest: str) -> None:
        left, found = int(self.headers["Content-Length"]), hashlib.sha256()
        draft = self.models.blobs / f"draft-{threading.get_ident()}"
        with draft.open("wb") as target:
            while left:
                block = self.rfile.read(min(left, 1 << 20))
                target.write(block)
                found.update(block)
                left -= len(block)
        if digest != f"sha256:{found.hexdigest()}":
            draft.unlink()
            self._json(400, {"error": "digest mismatch"})
            return
        draft.replace(self.models.blob(digest))
        self._json(201, {})

    def _upstream(self, path: str, body: dict[str, Any]) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.runner.port, timeout=600)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return connection.getresponse()

    def _answer(self, body: dict[str, Any]) -> None:
        """The native API, in one piece or line by line; a request without a prompt only loads."""
        name, chat = body["model"], self.path == "/api/chat"
        if not body.get("prompt") and not body.get("messages"):
            self._json(200, {"model": name, "response": "", "done": True, "done_reason": "load"})
            return
        options = body.get("options", {})
        messages = body.get("messages") or [{"role": "user", "content": body["prompt"]}]
        asked = {"messages": messages, "temperature": options.get("temperature", 0.8)}
        asked["max_tokens"] = options.get("num_predict", 256)
        begun = time.monotonic()
        answer = json.load(self._upstream("/v1/chat/completions", asked))
        text, count = answer["choices"][0]["message"]["content"], answer["usage"]["completion_tokens"]
        spent = {"eval_count": count, "eval_duration": int((time.monotonic() - begun) * 1e9)}
        if body.get("stream") is False:
            self._json(200, {"model": name, "done": True} | spent | self._piece(text, chat=chat))
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Connection", "close")
        self.end_headers()
        for word in text.split(" "):
            self.wfile.write(json.dumps({"model": name, "done": False} | self._piece(f"{word} ", chat=chat)).encode())
            self.wfile.write(b"\n")
        self.wfile.write(
            json.dumps({"model": name, "done": True} | spent | self._piece("", chat=chat)).encode() + b"\n"
        )
        self.close_connection = True

    @staticmethod
    def _piece(text: str, *, chat: bool) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}} if chat else {"response": text}

    def _pass(self, body: dict[str, Any]) -> None:
        """The API of OpenAI's form: llama-server's own, piece by piece."""
        answer = self._upstream(self.path, body)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Connection", "close")
        self.end_headers()
        while block := answer.read1(65536):
            self.wfile.write(block)
            self.wfile.flush()
        self.close_connection = True


def serve() -> int:
    """`ollama serve`, which knows no flags."""
    if KIND["serve"] == "ends":
        say("was made to end as soon as it is started")
        return 1
    models = Models()
    models.prune()
    runner = Runner(models)
    Handler.models, Handler.runner = models, runner
    settings = " ".join(f"{key}:{value}" for key, value in sorted(os.environ.items()) if key[:5] in ("OLLAM", "LLAMA"))
    say(f"server config env: {settings}")
    server = ThreadingHTTPServer(host(), Handler)

    def end(*_: object) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    server.serve_forever()
    runner.stop()
    return 0
