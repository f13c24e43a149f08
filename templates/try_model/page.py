"""A page to ask a model on. It listens at a socket in the file system, which the gateway alone may open."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gradio
import uvicorn
from fastapi import FastAPI
from model import Model

PATH = "/try"
# Fonts of the reader's own machine: the usual themes fetch theirs from elsewhere.
_THEME = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
_AT_ONCE = 16  # who waits; one is answered at a time


def serve(model: Model, place: str, most_tokens: int, seconds: int, ready: Callable[[], None]) -> None:
    """Serve for so many seconds, or until the process is told to end."""

    def answer(text: str, before: list[dict[str, Any]]) -> Iterator[str]:
        messages = [{"role": one["role"], "content": _text(one["content"])} for one in before]
        yield from model.stream([*messages, {"role": "user", "content": text}], most_tokens)

    with gradio.Blocks(title="Boxwright: a model is tried", analytics_enabled=False) as blocks:
        gradio.Markdown("# A model is tried\nThis page goes when the trial ends. Nothing is kept.")
        gradio.ChatInterface(answer, api_name="answer")
    blocks.queue(default_concurrency_limit=1, max_size=_AT_ONCE)
    app = gradio.mount_gradio_app(FastAPI(openapi_url=None), blocks, path=PATH, theme=_THEME, footer_links=[])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(place)
        door.listen(64)
        told = uvicorn.Config(
            _with_notice(app, ready), log_level="warning", proxy_headers=False, timeout_graceful_shutdown=3
        )
        server = uvicorn.Server(told)
        clock = threading.Timer(seconds, lambda: setattr(server, "should_exit", True))
        clock.daemon = True
        clock.start()
        server.run(sockets=[door])


def _text(content: Any) -> str:
    """A message's text: a page may send it in parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if isinstance(part, dict))


def _with_notice(app: Any, ready: Callable[[], None]) -> Any:
    """The app, which tells systemd and the watcher when it has started."""

    async def noticing(scope: Any, receive: Any, send: Any) -> None:
        async def telling(message: Any) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                notify("READY=1")
                ready()

        await app(scope, receive, telling if scope["type"] == "lifespan" else send)

    return noticing


def notify(state: str) -> None:
    """Tell systemd."""
    place = os.environ.get("NOTIFY_SOCKET")
    if place:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto(state.encode(), "\0" + place[1:] if place.startswith("@") else place)
