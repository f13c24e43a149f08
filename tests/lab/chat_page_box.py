"""The chat page of a twin, as its administrator and its people use it."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

from deploy_bench import Boxes

from boxwright.lab import RunningTwin

PAGE = "http://127.0.0.1:3000"
EMAIL = "admin@example.org"
PASSWORD = "lab-admin-password-77"
STATE = "/var/lib/open-webui"
QUESTION = {
    "model": "smollm2-135m-instruct",
    "messages": [{"role": "user", "content": "What is the capital of France? Answer in one word."}],
    "temperature": 0,
    "max_tokens": 24,
}


@dataclass
class ChatPage:
    """Open WebUI on one twin, with the session of whoever signed in."""

    boxes: Boxes
    twin: RunningTwin
    token: str = ""

    def call(self, path: str, body: object = None) -> tuple[int, Any]:
        return self.boxes.call(self.twin, f"{PAGE}{path}", body, self.token)

    def signed_in(self, email: str = EMAIL, password: str = PASSWORD) -> ChatPage:
        status, session = self.call("/api/v1/auths/signin", {"email": email, "password": password})
        assert status == 200, session
        return ChatPage(self.boxes, self.twin, session["token"])

    def sign_up(self, name: str) -> tuple[int, Any]:
        newcomer = {"name": name, "email": f"{name}@example.org", "password": "a-long-password"}
        return self.call("/api/v1/auths/signup", newcomer)

    @property
    def models(self) -> list[str]:
        status, models = self.call("/api/models")
        assert status == 200, models
        return [model["id"] for model in models["data"]]

    @property
    def version(self) -> str:
        return str(self.call("/api/version")[1]["version"])

    def answer(self, **changes: Any) -> str:
        status, answer = self.call("/api/chat/completions", QUESTION | changes)
        assert status == 200, answer
        return str(answer["choices"][0]["message"]["content"])

    def keep_chat(self, title: str) -> None:
        status, kept = self.call("/api/v1/chats/new", {"chat": {"title": title, "messages": []}})
        assert status == 200, kept

    @property
    def chats(self) -> set[str]:
        status, chats = self.call("/api/v1/chats/list")
        assert status == 200, chats
        return {chat["title"] for chat in chats}

    def upload(self, name: str, text: str) -> dict[str, Any]:
        """Give the page a document, and wait until it has read it."""
        command = (
            f"umask 077; echo 'Authorization: Bearer {self.token}' > /run/token; cat > /run/{name}; "
            f"curl -s -H @/run/token -F file=@/run/{name} '{PAGE}/api/v1/files/?process_in_background=false'"
        )
        document = dict(json.loads(self.boxes.on(self.twin, command, text)))
        status, kept = self.call(f"/api/v1/files/{document['id']}")
        assert status == 200, kept
        assert kept["data"].get("status") == "completed", kept["data"]  # the upload itself succeeds even if not
        return document

    def sql(self, statement: str, database: str = f"{STATE}/webui.db") -> str:
        program = (
            f"import sqlite3; c = sqlite3.connect({database!r}); print(c.execute({statement!r}).fetchall()); c.commit()"
        )
        return self.boxes.on(self.twin, f"python3 -c {shlex.quote(program)}").strip()
