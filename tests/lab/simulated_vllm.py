#!/usr/bin/python3
"""SIMULATED vLLM, for tests of its containers: it answers as `vllm serve`'s HTTP API does, and computes nothing.

It takes `serve --config FILE`, and ends on flags that Boxwright does not give, as the real one would on unknown ones.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FLAGS = {
    *("model", "served-model-name", "host", "port", "api-key", "max-model-len", "max-num-seqs", "tensor-parallel-size"),
    *("disable-access-log-for-endpoints", "disable-fastapi-docs", "fail-on-environ-validation", "reasoning-parser"),
    *("shutdown-timeout", "sse-keep-alive-interval"),
}


def settings() -> dict[str, Any]:
    parser = argparse.ArgumentParser("vllm")
    parser.add_argument("order", choices=["serve"])
    parser.add_argument("--config", type=Path, required=True)
    told: dict[str, Any] = json.loads(parser.parse_args().config.read_text())
    if unknown := sorted(set(told) - FLAGS):
        parser.error(f"unrecognized arguments: --{unknown[0]}")
    return told


def writable(path: str) -> bool:
    try:
        (Path(path) / "probe").touch()
    except OSError:
        return False
    return True


def account() -> str:
    """What HCCL looks up."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


class Handler(BaseHTTPRequestHandler):
    told: dict[str, Any]

    def do_GET(self) -> None:
        if self.path == "/health":
            return self.reply(200, "")
        if self.path == "/metrics":
            return self.reply(200, "vllm:num_requests_waiting 0\n")
        if not self.allowed():
            return None
        state = {  # of the simulation alone: how the container is closed
            "uid": os.getuid(),
            "account": account(),
            "groups": os.getgroups(),
            "devices": sorted(str(path) for path in Path("/dev").rglob("*") if path.is_char_device()),
            "weights": sorted(path.name for path in Path(self.told["model"]).iterdir()),
            "writable": [path for path in ("/", self.told["model"], "/tmp", "/cache") if writable(path)],
            "capabilities": Path("/proc/self/status").read_text().partition("CapEff:\t")[2][:16],
            "environment": dict(os.environ),
            "folder": str(Path.cwd()),
            "settings": {name: value for name, value in self.told.items() if name != "api-key"},
        }
        models = {
            "object": "list",
            "data": [{"id": name, "object": "model"} for name in self.told["served-model-name"]],
        }
        return self.reply(200, {"/v1/models": models, "/v1/state": state}[self.path])

    def do_POST(self) -> None:
        if not self.allowed():
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(float(body.get("seconds", 0)))
        if self.path == "/v1/completions":
            tokens = min(int(body["max_tokens"]), 64)
            time.sleep(0.05)  # what it would compute in
            choice = {"index": 0, "text": " SIMULATED" * tokens, "finish_reason": "length"}
        else:
            tokens = 6
            message = {"role": "assistant", "content": "Paris, says the SIMULATED vLLM"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": 1 + tokens}
        self.reply(200, {"model": body["model"], "choices": [choice], "usage": usage})

    def allowed(self) -> bool:
        if self.headers.get("Authorization") in [f"Bearer {key}" for key in self.told["api-key"]]:
            return True
        self.reply(401, {"error": "Unauthorized"})
        return False

    def reply(self, status: int, answer: Any) -> None:
        data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def say(text: str) -> None:
    sys.stdout.write(f"SIMULATED vLLM {text}\n")
    sys.stdout.flush()


def main() -> None:
    told = settings()
    Handler.told = told
    say(f"loads {told['model']}")
    time.sleep(1)
    server = ThreadingHTTPServer((told["host"], told["port"]), Handler)
    server.daemon_threads = False  # requests in flight end first
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(0.1)
    server.server_close()
    say("has ended in order")


if __name__ == "__main__":
    main()
