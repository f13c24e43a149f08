"""A box that loses its power as a container image is pulled: Debian's real Docker, on a disk that loses it, too."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from power_cut import PoweredTwin, powered_twin
from twin_registry import REGISTRY, SERVE_REGISTRY

from boxwright.errors import UnreachableError
from boxwright.lab import TwinSpec
from boxwright.model.catalogues import load_profile
from boxwright.places import ROOT
from boxwright.transport.ssh import Endpoint, check
from deploys.facts.containers import PULLED, PULLS, ContainerImage

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(900)]

PULLER = "/root/pull-image"
INSTALL = """\
update-ca-certificates >/dev/null 2>&1
export DEBIAN_FRONTEND=noninteractive
mkdir -p /etc/docker; echo '{"data-root": "/srv/docker"}' > /etc/docker/daemon.json
apt-get -q update >/dev/null
apt-get -qq install --no-install-recommends docker.io docker-cli busybox-static docker-registry >/dev/null ||
    apt-get -qq install --no-install-recommends docker.io busybox-static docker-registry >/dev/null
"""
# Two images that share their layer of programs; each has one of its own besides.
MAKE = f"""\
set -e
mkdir /root/image; cd /root/image; mkdir bin; cp /bin/busybox bin/; : > digests
for image in one other; do
    mkdir $image; for n in $(seq 200); do echo "file $n of $image" > $image/$n; done
    head -c 60000000 /dev/urandom > $image/large
    printf 'FROM scratch\\nCOPY bin /bin\\nCOPY %s /files\\n' $image > Dockerfile
    DOCKER_BUILDKIT=0 docker build --quiet --tag {REGISTRY}/$image:1 . >/dev/null
    docker push --quiet {REGISTRY}/$image:1 >/dev/null
    docker image inspect --format '{{{{index .RepoDigests 0}}}}' {REGISTRY}/$image:1 >> digests
done
docker system prune --all --force >/dev/null; sync; cat digests
"""
WHOLE = "test $(cat /files/[0-9]* | wc -l) = 200 && test $(wc -c < /files/large) = 60000000 && echo whole"


@dataclass(frozen=True)
class Box:
    power: PoweredTwin
    spec: TwinSpec

    def on(self, script: str) -> str:
        twin = self.power.twin
        return check(Endpoint(twin.name, twin.address, twin.port, twin.user, twin.key, twin.known_hosts, 10), script)

    def copy(self, file: Path, to: str) -> None:
        twin = self.power.twin
        known = f"UserKnownHostsFile={twin.known_hosts}"
        there = f"{twin.user}@{twin.address}:{to}"
        subprocess.run(["scp", "-q", "-i", str(twin.key), "-o", known, str(file), there], check=True)

    def has(self, image: str) -> bool:
        """What the deploys would find."""
        fact = ContainerImage()
        return fact.process(self.on(fact.command(image)).splitlines())

    def pull(self, image: str) -> None:
        self.on(f"python3 -I -B {PULLER} {image} {PULLS} {PULLED}")

    def runs(self, image: str) -> str:
        return self.on(
            f"docker run --rm --network none --pull never {image} /bin/busybox sh -c '{WHOLE}' 2>&1 || :"
        ).strip()

    def lose_power(self) -> None:
        self.power.cut()
        self.power.start(self.spec)
        self.on(f"systemctl start docker; {SERVE_REGISTRY}")


@pytest.fixture(scope="module", params=["debian-12", "debian-13"])
def box(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    folder = tmp_path_factory.mktemp("power")
    spec = TwinSpec("power-1", request.param, load_profile("lab").hardware, containers=True)
    with powered_twin("test-image-power", spec, folder / "disk.img", 6000) as power:
        made = Box(power, spec)
        made.on(f"echo 'Acquire::http::Proxy \"{power.lab.proxy_url}\";' > /etc/apt/apt.conf.d/80boxwright-proxy")
        for authority in power.lab.ca_certificates:
            made.copy(authority, f"/usr/local/share/ca-certificates/{authority.stem}.crt")
        made.on(INSTALL)
        made.copy(ROOT / "templates/container/pull_image.py", PULLER)
        made.on(f"systemctl restart docker; {SERVE_REGISTRY}")
        yield made


@pytest.fixture(scope="module")
def images(box: Box) -> list[str]:
    return box.on(MAKE).split()


def test_docker_keeps_layers_that_lost_their_files(box: Box, images: list[str]) -> None:
    """Why there is a program for it: this is what it is held against."""
    box.on(f"docker pull --quiet {images[0]}")
    box.lose_power()
    box.on(f"docker pull --quiet {images[0]}")
    assert box.runs(images[0]) != "whole"
    box.on("docker system prune --all --force; sync")


def test_what_was_pulled_is_on_the_disk(box: Box, images: list[str]) -> None:
    box.pull(images[0])
    assert box.has(images[0])
    box.lose_power()
    assert box.has(images[0])
    assert box.runs(images[0]) == "whole"
    box.on("docker system prune --all --force; sync")


def test_a_pull_that_ended_with_the_power_is_not_taken_for_whole(box: Box, images: list[str]) -> None:
    one, other = images
    with ThreadPoolExecutor(max_workers=1) as pool:
        pulling = pool.submit(box.pull, one)
        box.power.until(lambda: any(box.power.containers.glob("overlay2/*/diff/files/large")), 60)
        box.lose_power()
        with pytest.raises(UnreachableError):
            pulling.result()
    assert not box.has(one)
    box.pull(other)  # which has a layer in common
    assert box.runs(other) == "whole"
    assert not box.has(one)
    box.pull(one)
    assert box.has(one)
    assert box.runs(one) == "whole"
    assert box.on(f"ls {PULLS}") == ""
