"""Images from where a site says, with Debian's real Docker and a real registry on the twin itself.

It also shows why names are rewritten: neither Docker's own mirrors nor files for containerd lead anywhere else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from role_bench import Bench, role_bench
from twin_registry import REGISTRY, SERVE_REGISTRY

from boxwright.lab import RunningTwin, TwinSpec
from boxwright.model.catalogues import load_profile
from boxwright.model.site import Host, Site

# Takes long: for the weekly run.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(900)]

SITE = Site(
    name="s",
    hosts=(Host(name="box-1", address="192.0.2.7"),),
    registry_mirrors=(f"http://{REGISTRY}",),
    registry_rewrites={"ghcr.io": f"{REGISTRY}/ghcr", "quay.io": REGISTRY},
)
# What the registry was asked for.
ASKED = "journalctl --unit=test-registry --output=cat --no-pager | grep -c '/v2/{}/manifests' || true"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    hardware = load_profile("8x4090").hardware
    specs = [
        TwinSpec("bookworm", "debian-12", hardware, containers=True),
        TwinSpec("trixie", "debian-13", hardware, containers=True),
    ]
    folder = tmp_path_factory.mktemp("registries")
    with role_bench("container_runtime", specs, folder, packages=True, lab_name="registries") as bench:
        install = "DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends"
        bench.everywhere(f"{install} busybox-static docker-registry >/dev/null; {SERVE_REGISTRY}")
        bench.variables |= {"source": "debian", "no_proxy": [], "registry_mirrors": list(SITE.registry_mirrors)}
        bench.run().well()
        bench.everywhere("mkdir /tmp/box; cp /bin/busybox /tmp/box/; tar -C /tmp/box -c . | docker import - box")
        yield bench


def publish(bench: Bench, path: str) -> list[str]:
    """Put an image into each twin's registry, forget it locally, and return its digests."""
    name = f"{REGISTRY}/{path}"
    told = bench.everywhere(f"docker tag box {name}; docker push {name}; docker rmi {name} >/dev/null")
    digests = [re.search(r"sha256:[0-9a-f]{64}", text) for text in told]
    assert all(digests), told
    return [digest[0] for digest in digests if digest]


def pulls(bench: Bench, twin: RunningTwin, image: str) -> bool:
    """Whether a pull of this name succeeds, and the image runs."""
    run = f"timeout 60 docker pull --quiet {image} && docker run --rm {image} /busybox true"
    forget = f"docker rmi --force {image} >/dev/null 2>&1"
    return bench.code_of(twin, f"{run}; code=$?; {forget}; exit $code") == 0


def test_images_of_docker_hub_come_from_the_mirror(bench: Bench) -> None:
    publish(bench, "boxwright/hub:1")
    assert [pulls(bench, twin, SITE.image("boxwright/hub:1")) for twin in bench.twins] == [True, True]


def test_images_of_other_registries_come_from_where_the_site_says(bench: Bench) -> None:
    digests = publish(bench, "ghcr/boxwright/other:1")
    publish(bench, "boxwright/plain:1")
    for twin, digest in zip(bench.twins, digests, strict=True):
        assert pulls(bench, twin, SITE.image("ghcr.io/boxwright/other:1"))
        assert pulls(bench, twin, SITE.image(f"ghcr.io/boxwright/other@{digest}"))
        assert pulls(bench, twin, SITE.image("quay.io/boxwright/plain:1"))
        assert not pulls(bench, twin, SITE.image("ghcr.io/boxwright/other:2"))


def test_neither_mirrors_nor_files_for_containerd_would_do_it(bench: Bench) -> None:
    publish(bench, "boxwright/lost:1")
    hosts = f'server = "https://ghcr.io"\n[host."http://{REGISTRY}"]\n  capabilities = ["pull", "resolve"]\n'
    (bench.folder / "hosts.toml").write_text(hosts)
    for place in ("/etc/containerd/certs.d/ghcr.io", "/etc/docker/certs.d/ghcr.io"):
        bench.everywhere(f"mkdir -p {place}")
        bench.copy(bench.folder / "hosts.toml", f"{place}/hosts.toml")
    bench.everywhere("systemctl reset-failed docker docker.socket; systemctl restart containerd docker")
    for twin in bench.twins:
        before = bench.on(twin, ASKED.format("boxwright/lost"))
        assert not pulls(bench, twin, "ghcr.io/boxwright/lost:1")
        time.sleep(1)  # for the journal
        assert bench.on(twin, ASKED.format("boxwright/lost")) == before
        # The registry tells of those that do come.
        assert pulls(bench, twin, "boxwright/lost:1")
        time.sleep(1)
        assert int(bench.on(twin, ASKED.format("boxwright/lost"))) > int(before)
    bench.everywhere("rm -r /etc/containerd/certs.d /etc/docker/certs.d")
