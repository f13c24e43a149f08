"""Container images: found by digest at a registry that wants a token, locked part by part, and served as they came."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from boxwright.errors import BadInputError, BoxwrightError
from boxwright.factory.bundle import Bundle
from boxwright.factory.fetching import fetch
from boxwright.factory.lock import Lock
from boxwright.factory.origins import Origin
from boxwright.factory.registry import Registries
from boxwright.factory.serving import serving, table
from boxwright.model.catalogues import load_site
from boxwright.model.debian_packages import BUNDLE_KEY
from boxwright.model.site import ServedBundle, Site
from boxwright.signing import SigningKey
from boxwright.whole_files import write_whole

LAYER, SETTINGS = b"a layer" * 100, b'{"os": "linux"}'
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def described(data: bytes, **more: Any) -> dict[str, Any]:
    return {"digest": digest(data), "size": len(data), **more}


MANIFEST = json.dumps({"config": described(SETTINGS), "layers": [described(LAYER)]}).encode()
INDEX = json.dumps(
    {
        "manifests": [
            described(b"x", platform={"os": "linux", "architecture": "arm64"}),
            described(MANIFEST, platform={"os": "linux", "architecture": "amd64"}),
        ]
    }
).encode()
IMAGE = f"vendor.example/team/engine@{digest(INDEX)}"


class Registry(BaseHTTPRequestHandler):
    """Gives one image to whoever has asked for a token."""

    lasts: ClassVar[float] = float("inf")  # for how many answers a token does
    tokens: ClassVar[list[int]] = []  # how many answers each has got
    page: ClassVar[bytes] = b'{"token": "T%d"}'
    parts: ClassVar[dict[str, tuple[str, bytes]]] = {
        f"/v2/copy/team/engine/{kind}/{digest(data)}": (media, data)
        for kind, media, data in (
            ("manifests", INDEX_TYPE, INDEX),
            ("manifests", MANIFEST_TYPE, MANIFEST),
            ("blobs", "application/octet-stream", SETTINGS),
            ("blobs", "application/octet-stream", LAYER),
        )
    }

    def do_GET(self) -> None:
        place = self.path.partition("?")[0]
        if place == "/token":
            given = self.path.count("repository%3Acopy%2Fteam%2Fengine%3Apull")
            self.tokens.append(0)
            self._answer(200 if given else 403, "application/json", self.page.replace(b"%d", b"%d" % len(self.tokens)))
        elif not self._may():
            realm = f'Bearer realm="http://{self.headers["Host"]}/token",service="s",scope="other"'
            self._answer(401, "application/json", b"{}", realm)
        elif place in self.parts and ("blobs" in place or self.parts[place][0] in self.headers["Accept"]):
            self._answer(200, *self.parts[place])
        else:
            self._answer(404, "application/json", b"{}")

    def _may(self) -> bool:
        """Whether a token was shown that has not run out."""
        shown = self.headers.get("Authorization", "").removeprefix("Bearer T")
        if not shown.isdigit() or self.tokens[int(shown) - 1] >= self.lasts:
            return False
        self.tokens[int(shown) - 1] += 1
        return True

    def _answer(self, code: int, media: str, data: bytes, realm: str = "") -> None:
        self.send_response(code)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(data)))
        if realm:
            self.send_header("WWW-Authenticate", realm)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    Registry.tokens.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = f"127.0.0.1:{server.server_address[1]}/copy"
    yield load_site("lab").model_copy(update={"registry_rewrites": {"vendor.example": place}})
    server.shutdown()
    server.server_close()


def locked(site: Site) -> Lock:
    with Registries(site) as registries:
        return Lock(profile="p", distribution="debian-12", artefacts=tuple(registries.artefacts(IMAGE, "images")))


def test_an_image_is_locked_under_its_vendors_name_wherever_it_came_from(site: Site) -> None:
    lock = locked(site)
    assert [one.name.rpartition("/")[2] for one in lock.artefacts] == ["platforms", "manifest", "settings", "layer-001"]
    assert {one.image for one in lock.artefacts} == {"vendor.example/team/engine"}
    assert {one.version for one in lock.artefacts} == {digest(INDEX)}
    assert lock.registries == ("vendor.example",)
    assert "127.0.0.1" not in lock.text


def fetched(site: Site, bundle: Bundle) -> None:
    lock = locked(site)
    bundle.folder.mkdir()
    with Registries(site) as registries:
        wanted = [Origin(one, (registries.address(one),)) for one in lock.artefacts]
        told = partial(registries.headers, lock.artefacts)
        fetch(bundle, wanted, folders=(), python_index="", headers=told, progress=lambda _: None)
    assert [bundle.wrong(one) for one in lock.artefacts] == ["", "", "", ""]


def test_a_token_that_runs_out_on_the_way_is_asked_for_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Registry, "lasts", 2)
    fetched(site, Bundle(tmp_path / "b"))
    assert len(Registry.tokens) >= 3


def test_a_registry_that_takes_none_of_its_tokens_is_asked_no_more(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, bundle = locked(site), Bundle(tmp_path / "b")
    bundle.folder.mkdir()
    monkeypatch.setattr(Registry, "lasts", 0)
    with Registries(site) as registries:
        wanted = [Origin(one, (registries.address(one),)) for one in lock.artefacts]
        told = partial(registries.headers, lock.artefacts)
        with pytest.raises(
            BoxwrightError, match=r"not given to everybody: part of an image vendor\.example/team/engine"
        ):
            fetch(bundle, wanted, folders=(), python_index="", headers=told, progress=lambda _: None)


@pytest.mark.parametrize("page", [b"<html>Log in to this network</html>", b"[]"])
def test_what_stands_before_a_registry_is_told(site: Site, monkeypatch: pytest.MonkeyPatch, page: bytes) -> None:
    monkeypatch.setattr(Registry, "page", page)
    with pytest.raises(BoxwrightError, match=r"127\.0\.0\.1:[0-9]+/token: it gives no token"):
        locked(site)


@pytest.mark.usefixtures("own_places")
def test_it_is_fetched_and_served_as_a_registry_would(site: Site, tmp_path: Path) -> None:
    lock, bundle = locked(site), Bundle(tmp_path / "b")
    bundle.folder.mkdir()
    with Registries(site) as registries:
        wanted = [Origin(one, (registries.address(one),)) for one in lock.artefacts]
        headers = registries.headers(lock.artefacts)
    fetch(bundle, wanted, folders=(), python_index="", headers=lambda: headers, progress=lambda _: None)
    assert [bundle.wrong(one) for one in lock.artefacts] == ["", "", "", ""]
    write_whole(bundle.lock_file(lock.name), lock.text.encode())
    write_whole(bundle.lists(lock.name) / BUNDLE_KEY, b"a key")
    bundle.sign(SigningKey.kept_in(tmp_path / "key"), own=[lock.name])
    with serving(table(bundle, bundle.signed()[0]), "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        told = ServedBundle(
            url=f"{url}/{lock.name}",
            suite="platform",
            key="-----BEGIN PGP PUBLIC KEY BLOCK-----",
            registries=lock.registries,
        )
        name = site.model_copy(update={"bundle": told}).behind_its_bundle().image(IMAGE)
        assert name.startswith(f"{told.registry}/p-debian-12/vendor.example/team/engine@sha256:")
        path = name.partition("/")[2].partition("@")[0]
        assert httpx.get(f"{url}/v2/").status_code == 200
        answer = httpx.get(f"{url}/v2/{path}/manifests/{digest(INDEX)}")
        assert (answer.headers["content-type"], answer.content) == (INDEX_TYPE, INDEX)
        assert httpx.head(f"{url}/v2/{path}/manifests/{digest(MANIFEST)}").headers["content-type"] == MANIFEST_TYPE
        assert httpx.get(f"{url}/v2/{path}/blobs/{digest(LAYER)}").content == LAYER
        assert httpx.get(f"{url}/v2/{path}/blobs/{digest(INDEX)}").status_code == 404


@pytest.mark.parametrize(
    ("image", "error", "why"),
    [
        (
            f"vendor.example/team/engine@sha256:{'0' * 64}",
            BoxwrightError,
            "withdrawn: image vendor.example/team/engine",
        ),
        (f"vendor.example/team/other@sha256:{'0' * 64}", BoxwrightError, "team/other: not given to everybody"),
        (f"sha256:{'0' * 64}", BadInputError, "has no name"),
        (f"vendor.example/team/engine@{digest(LAYER)}", BoxwrightError, "withdrawn"),
    ],
)
def test_what_cannot_be_had_is_named(site: Site, image: str, error: type[Exception], why: str) -> None:
    with Registries(site) as registries, pytest.raises(error, match=why):
        list(registries.artefacts(image, "images"))
