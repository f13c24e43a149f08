"""A container image out of a bundle: a real registry it is fetched from, and Debian's real Docker that pulls it.

Both stand on the twin. The image is made there, of busybox alone.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from role_bench import Bench, role_bench
from twin_registry import REGISTRY, SERVE_REGISTRY

from boxwright.factory.bundle import Bundle
from boxwright.factory.fetching import fetch
from boxwright.factory.lock import Lock
from boxwright.factory.origins import Origin
from boxwright.factory.registry import Registries
from boxwright.factory.serving import address_towards, serving, table
from boxwright.lab import TwinSpec
from boxwright.model.catalogues import load_profile
from boxwright.model.debian_packages import BUNDLE_KEY
from boxwright.model.site import Host, ServedBundle, Site
from boxwright.signing import SigningKey
from boxwright.whole_files import write_whole

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(900)]

SITE = Site(
    name="s",
    hosts=(Host(name="box-1", address="192.0.2.7"),),
    registry_rewrites={"nvcr.io": f"{REGISTRY}/copies"},
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("images")
    spec = TwinSpec("bookworm", "debian-12", load_profile("8x4090").hardware, containers=True)
    with role_bench("container_runtime", [spec], folder, packages=True, lab_name="images") as bench:
        install = "DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends"
        bench.everywhere(f"{install} busybox-static docker-registry >/dev/null; {SERVE_REGISTRY}")
        bench.variables |= {"source": "debian", "no_proxy": [], "registry_mirrors": []}
        bench.run().well()
        yield bench


@pytest.fixture(scope="module")
def image(bench: Bench) -> str:
    """An image in the twin's registry, under the name that its vendor would give it; Docker has forgotten it."""
    name = f"{REGISTRY}/copies/vendor/engine:1"
    (told,) = bench.everywhere(
        "mkdir /tmp/box; cp /bin/busybox /tmp/box/; tar -C /tmp/box -c . | docker import - box; "
        f"docker tag box {name}; docker push {name}; docker rmi --force {name} box >/dev/null"
    )
    digest = re.search(r"digest: (sha256:[0-9a-f]{64})", told)
    assert digest, told
    return f"nvcr.io/vendor/engine@{digest[1]}"


def test_an_image_is_pulled_out_of_a_bundle(bench: Bench, image: str, tmp_path: Path) -> None:
    (twin,) = bench.twins
    bundle = Bundle(tmp_path / "b")
    bundle.folder.mkdir()
    pinned = ["-i", str(twin.key), "-o", f"UserKnownHostsFile={twin.known_hosts}", "-o", "ExitOnForwardFailure=yes"]
    there = f"{twin.user}@{twin.address}"
    through = subprocess.Popen(["ssh", "-N", *pinned, "-L", f"{REGISTRY}:{REGISTRY}", there])
    try:
        bench.on(twin, "sleep 2")
        with Registries(SITE) as registries:
            lock = Lock(profile="p", distribution="debian-12", artefacts=tuple(registries.artefacts(image, "images")))
            wanted = [Origin(one, (registries.address(one),)) for one in lock.artefacts]
            headers = registries.headers(lock.artefacts)
        fetch(bundle, wanted, folders=(), python_index="", headers=lambda: headers, progress=print)
    finally:
        through.terminate()
        through.wait()
    assert "127.0.0.1" not in lock.text
    write_whole(bundle.lock_file(lock.name), lock.text.encode())
    write_whole(bundle.lists(lock.name) / BUNDLE_KEY, b"a key")
    bundle.sign(SigningKey.kept_in(tmp_path / "key"), own=[lock.name])

    # What comes now comes out of the bundle: the registry is gone.
    bench.on(twin, "systemctl stop test-registry; ip route del default")
    address = address_towards(twin.address)
    with serving(table(bundle, bundle.signed()[0]), address):
        served = ServedBundle(
            url=f"http://{address}:8873/{lock.name}",
            suite="platform",
            key="-----BEGIN PGP PUBLIC KEY BLOCK-----",
            registries=lock.registries,
        )
        name = SITE.model_copy(update={"bundle": served}).behind_its_bundle().image(image)
        assert bench.code_of(twin, f"timeout 60 docker pull --quiet {name}") != 0  # not yet: Docker wants TLS there
        bench.variables |= {"insecure_registries": [served.registry]}
        bench.run().well()
        assert bench.code_of(twin, f"timeout 60 docker pull --quiet {name}") == 0
        assert bench.on(twin, f"docker run --rm --network none {name} /busybox echo it runs").strip() == "it runs"
        bench.run().well(changed=0)
