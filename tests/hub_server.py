"""A small real HTTP server that speaks as Hugging Face, ModelScope and Ollama's registry do, and misbehaves on demand.

It answers what their own clients and Boxwright ask. Files lie in a storage of another origin that nobody reaches but
by a redirect, as at the real hubs.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Misbehaviour:
    """What goes wrong, and how often it still does."""

    cut_after: list[int] = field(default_factory=list)  # bytes after which the next answers of the storage break off
    cut_paths: dict[str, list[int]] = field(default_factory=dict)  # the same, by file
    pause_per_block_s: float = 0.0
    resumes: bool = True
    busy: list[tuple[int, str]] = field(default_factory=list)  # status and Retry-After of the next answers of the hub
    forged: set[str] = field(default_factory=set)  # files whose last byte is wrong
    content_range: dict[str, str] = field(default_factory=dict)  # what is said of parts, by file; empty: nothing


@dataclass(frozen=True)
class Asked:
    """One request."""

    origin: str  # hub or storage
    path: str
    range: str | None
    headers: dict[str, str]
    query: dict[str, str]


class Hub:
    """The hub and its storage, each a server of its own.

    Args:
        address: Where both listen.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.plain: dict[str, tuple[str, bytes]] = {}  # pages and files besides the hubs'
        self.ollama: dict[str, bytes] = {}  # weights by tag
        self.token: str | None = None  # that whoever asks must show
        self.wrong = Misbehaviour()
        self.asked: list[Asked] = []
        self.sending: Counter[str] = Counter()
        self.most_at_once = 0  # files
        self._lock = threading.Lock()
        self._address = address
        self._listen(0, 0)
        self.url, self.storage = (f"http://{address}:{server.server_address[1]}" for server in self._servers)

    def _listen(self, *ports: int) -> None:
        self._servers = [
            http.server.ThreadingHTTPServer((self._address, port), _handler(self, name))
            for name, port in zip(_ORIGINS, ports, strict=True)
        ]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    @contextlib.contextmanager
    def out_of_reach(self) -> Iterator[None]:
        """Let nobody in meanwhile; whoever is served already goes on."""
        self.close()
        yield
        self._listen(*(server.server_address[1] for server in self._servers))

    def close(self) -> None:
        """Stop serving."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def offer(self, path: str, content: bytes, kind: str = "application/octet-stream") -> str:
        """Serve something at a path of the hub, without a redirect; return its address."""
        self.plain[path] = (kind, content)
        return self.url + path

    def ranges(self, name: str = "") -> list[str | None]:
        """The ranges that were asked of files whose path contains a name, in order."""
        with self._lock:
            content = [one for one in self.asked if one.origin == "storage" or one.path in self.plain]
            return [one.range for one in content if name in one.path]


_ORIGINS = ("hub", "storage")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324 - as git names blobs


def _is_large(path: str) -> bool:
    return path.endswith((".gguf", ".safetensors", ".bin"))


def _handler(hub: Hub, origin: str) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = urllib.parse.unquote(self.path.removeprefix(hub.url).partition("?")[0])  # a proxy gets whole URLs
            query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
            with hub._lock:
                hub.asked.append(Asked(origin, path, self.headers["Range"], dict(self.headers.items()), query))
                busy = hub.wrong.busy.pop(0) if origin == "hub" and hub.wrong.busy else None
            if busy:
                self.send_response(busy[0])
                self.send_header("Retry-After", busy[1])
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif origin == "storage":
                self._storage(path)
            elif hub.token and not path.startswith("/simple") and not self._knows_the_token():
                self.send_error(401)
            else:
                self._hub(path, query)

        def _knows_the_token(self) -> bool:
            bearer, cookie = f"Bearer {hub.token}", f"m_session_id={hub.token}"
            return self.headers["Authorization"] == bearer or cookie in (self.headers["Cookie"] or "").split("; ")

        def _hub(self, path: str, query: dict[str, str]) -> None:
            words = path.strip("/").split("/")
            if path in hub.plain:
                self._content(path, hub.plain[path][1], hub.plain[path][0])
            elif words[:2] == ["api", "models"]:
                self._huggingface("/".join(words[2:4]), words[4:], query)
            elif words[:3] == ["api", "v1", "models"]:
                self._modelscope("/".join(words[3:5]), words[5:], query)
            elif words[0] == "v2":
                self._ollama("/".join(words[1:3]), words[3:])
            elif len(words) > 4 and words[2] == "resolve":
                self._file("/".join(words[:2]), "/".join(words[4:]))
            else:
                self.send_error(404)

        def _huggingface(self, repository: str, rest: list[str], query: dict[str, str]) -> None:
            files = hub.repositories.get(repository)
            if files is None:
                self.send_error(404)
            elif rest[:1] == ["tree"]:
                names = sorted(files)
                start = int(query.get("cursor", 0))
                entries: list[dict[str, Any]] = []
                for name in names[start : start + 2]:  # two a page, so that whoever lists must follow
                    content = files[name]
                    entry = {"type": "file", "path": name, "size": len(content), "oid": _git_blob(content)}
                    if _is_large(name):
                        entry["lfs"] = {"oid": _sha256(content), "size": len(content), "pointerSize": 134}
                    entries.append(entry)
                more = start + 2 < len(names)
                address = f"{hub.url}/api/models/{repository}/{'/'.join(rest)}?recursive=true&cursor={start + 2}"
                self._json(entries, {"Link": f'<{address}>; rel="next"'} if more else {})
            else:
                siblings = [{"rfilename": name} for name in sorted(files)]
                told = {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": siblings, "tags": []}
                self._json(told | {"private": False, "downloads": 0, "likes": 0})

        def _modelscope(self, repository: str, rest: list[str], query: dict[str, str]) -> None:
            files = hub.repositories.get(repository)
            if files is None:
                self._json({"Code": 404, "Success": False, "Message": "no such model"}, status=404)
            elif rest == ["repo", "files"]:
                entries = [
                    {
                        "Name": name.rpartition("/")[2],
                        "Path": name,
                        "Size": len(content),
                        "Sha256": _sha256(content),
                        "Type": "blob",
                        "IsLFS": _is_large(name),
                        "Revision": COMMIT,
                    }
                    for name, content in files.items()
                ]
                folders = {name.rpartition("/")[0] for name in files} - {""}
                entries += [{"Name": one, "Path": one, "Type": "tree", "Size": 0} for one in sorted(folders)]
                self._json({"Code": 200, "Success": True, "Data": {"Files": entries}})
            elif rest == ["repo"]:
                self._file(repository, query["FilePath"])
            elif rest == ["revisions"]:
                branch = [{"Revision": "master", "CreatedAt": 1}]
                self._json({"Code": 200, "Success": True, "Data": {"RevisionMap": {"Branches": branch, "Tags": []}}})
            else:
                self._json({"Code": 200, "Success": True, "Data": {"Name": repository, "Path": repository}})

        def _ollama(self, name: str, rest: list[str]) -> None:
            by_digest = {_sha256(content): content for content in hub.ollama.values()}
            if rest[0] == "manifests" and (weights := hub.ollama.get(f"{name.removeprefix('library/')}:{rest[1]}")):
                layer = {"digest": f"sha256:{_sha256(weights)}", "size": len(weights)}
                text = {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:00", "size": 3}
                self._json({"layers": [{"mediaType": "application/vnd.ollama.image.model", **layer}, text]})
            elif rest[0] == "blobs" and rest[1].removeprefix("sha256:") in by_digest:
                self._away(f"{hub.storage}/blobs/{rest[1]}?X-Amz-Signature=secret")
            else:
                self.send_error(404)

        def _file(self, repository: str, name: str) -> None:
            content = hub.repositories.get(repository, {}).get(name)
            if content is None:
                self.send_error(404)
            elif _is_large(name):
                linked = {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{_sha256(content)}"'}
                etag = {"ETag": f'"{_sha256(content)}"', "X-Repo-Commit": COMMIT}
                place = f"{hub.storage}/{repository}/{urllib.parse.quote(name)}?X-Amz-Signature=secret"
                self._away(place, linked | etag)
            else:
                self._content(name, content, headers={"ETag": f'"{_git_blob(content)}"', "X-Repo-Commit": COMMIT})

        def _storage(self, path: str) -> None:
            if self.headers["Authorization"] or self.headers["Cookie"]:
                self.send_error(400)  # as a signed address does when it is signed twice
            elif path.startswith("/blobs/sha256:"):
                digest = path.removeprefix("/blobs/sha256:")
                self._content(path, next(one for one in hub.ollama.values() if _sha256(one) == digest))
            else:
                owner, name, file = path.strip("/").split("/", 2)
                self._content(file, hub.repositories[f"{owner}/{name}"][file])

        def _away(self, place: str, headers: dict[str, str] | None = None) -> None:
            self.send_response(302)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Location", place)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _json(self, value: object, headers: dict[str, str] | None = None, status: int = 200) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            for key, text in ({"Content-Type": "application/json"} | (headers or {})).items():
                self.send_header(key, text)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def _content(
            self,
            name: str,
            content: bytes,
            kind: str = "application/octet-stream",
            headers: dict[str, str] | None = None,
        ) -> None:
            if name in hub.wrong.forged:
                content = content[:-1] + bytes([content[-1] ^ 1])
            wanted, start, last = self.headers["Range"], 0, len(content) - 1
            if wanted and hub.wrong.resumes:
                first, _, upto = wanted.removeprefix("bytes=").partition("-")
                start, last = int(first), min(int(upto or last), last)
                if start > last:
                    self.send_response(416)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                if told := hub.wrong.content_range.get(name, f"bytes {start}-{last}/{len(content)}"):
                    self.send_header("Content-Range", told)
            else:
                self.send_response(200)
            for key, value in ({"Content-Type": kind, "Accept-Ranges": "bytes"} | (headers or {})).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(last + 1 - start))
            self.end_headers()
            if self.command == "GET":
                self._send(name, content, start, last + 1)

        def _send(self, name: str, content: bytes, start: int, end: int) -> None:
            with hub._lock:
                cuts = hub.wrong.cut_paths.get(name) or hub.wrong.cut_after
                limit = cuts.pop(0) if cuts else None
                hub.sending[name] += 1
                hub.most_at_once = max(hub.most_at_once, len(+hub.sending))
            stop = end if limit is None else min(end, start + limit)
            with contextlib.suppress(ConnectionError):  # who reads may be killed, or have had enough
                for at in range(start, stop, 65536):
                    time.sleep(hub.wrong.pause_per_block_s)
                    self.wfile.write(content[at : min(at + 65536, stop)])
            with hub._lock:
                hub.sending[name] -= 1
            self.close_connection = True

    return Handler
