"""What is said where the archives of packages do not answer."""

from __future__ import annotations

import shutil
import socket

import pytest

from boxwright.errors import BoxwrightError
from boxwright.factory import debian
from boxwright.model.site import Mirrors


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="packages are resolved by apt")
def test_a_mirror_that_never_ends_is_told_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "_TIMEOUT_S", 2)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        mirrors = Mirrors(debian=f"{url}/debian", debian_security=f"{url}/security")
        with pytest.raises(BoxwrightError, match="apt-get had not read the archives after") as raised:
            debian.downloaded_packages("debian-12", ["nginx"], mirrors, "platform")
    assert raised.value.where == f"{url}/debian, {url}/security"
