#!/usr/bin/python3
"""SIMULATED trtllm-serve, for tests of its container: it answers as its HTTP API does, and computes nothing.

It takes the flags of 1.2.1 that Boxwright gives, and ends on others, as the real one would.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

VERSION = "1.2.1+simulated"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("trtllm-serve serve", allow_abbrev=False)
    parser.add_argument("model", type=Path)
    parser.add_argument("--host", default="localhost")
    for name in ("--port", "--max_batch_size", "--max_seq_len", "--max_num_tokens", "--tp_size", "--pp_size"):
        parser.add_argument(name, type=int)
    parser.add_argument("--extra_llm_api_options", type=Path)
    parser.add_argument("--reasoning_parser", choices=["deepseek-r1", "nano-v3", "qwen3"])
    assert sys.argv[1] == "serve"
    return parser.parse_args(sys.argv[2:])


def writable(path: str) -> bool:
    try:
        (Path(path) / "probe").touch()
    except OSError:
        return False
    return True


class Handler(BaseHTTPRequestHandler):
    told: argparse.Namespace
    metrics: bool

    def do_GET(self) -> None:
        answers: dict[str, Any] = {
            "/health": "",
            "/version": {"version": VERSION},
            "/v1/models": {"object": "list", "data": [{"id": self.told.model.name, "object": "model"}]},
            "/metrics": [],
            "/state": {  # of the simulation alone: how the container is closed
                "uid": os.getuid(),
                "weights": sorted(path.name for path in self.told.model.iterdir()),
                "writable": [path for path in ("/", str(self.told.model), "/tmp", "/cache") if writable(path)],
                "capabilities": Path("/proc/self/status").read_text().partition("CapEff:\t")[2][:16],
                "offline": os.environ.get("HF_HUB_OFFLINE"),
            },
        }
        if self.metrics:
            answers["/prometheus/metrics"] = "trtllm_request_success_total 1\n"
        answer = answers.get(self.path)
        self.reply(404 if answer is None else 200, "" if answer is None else answer)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(float(body.get("seconds", 0)))
        if "MUTE" in os.environ:  # ready, as far as /health tells, and broken
            self.reply(500, {"message": "SIMULATED: no kernel image is available"})
            return
        if self.path == "/v1/completions":
            tokens = min(int(body["max_tokens"]), 64)
            usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": 1 + tokens}
            choices = [{"index": 0, "text": " SIMULATED" * tokens, "finish_reason": "length"}]
            time.sleep(0.05)  # what it would compute in
            self.reply(200, {"model": self.told.model.name, "choices": choices, "usage": usage})
            return
        message = {"role": "assistant", "content": "Paris, says the SIMULATED trtllm-serve"}
        usage = {"prompt_tokens": 1, "completion_tokens": 6, "total_tokens": 7}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        self.reply(200, {"model": self.told.model.name, "choices": choices, "usage": usage})

    def reply(self, status: int, answer: Any) -> None:
        data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    told = arguments()
    Handler.told = told
    Handler.metrics = bool(json.loads(told.extra_llm_api_options.read_text()).get("return_perf_metrics"))
    sys.stdout.write(f"SIMULATED trtllm-serve {VERSION} loads {told.model}" + "\n")
    sys.stdout.flush()
    time.sleep(1)
    server = ThreadingHTTPServer((told.host, told.port), Handler)
    server.daemon_threads = False  # requests in flight end first
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(0.1)
    server.server_close()
    sys.stdout.write("SIMULATED trtllm-serve has ended in order" + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
