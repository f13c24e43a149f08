"""Docker's own packages and the NVIDIA container toolkit, SIMULATED: names, versions and relations.

A real daemon runs under the simulated docker-ce all the same: its programs fetch Debian's packages of Docker the first
time that one of them is called, unpack them beside the system, and run what is in there. dpkg knows nothing of that, so
the relations stay those of the vendor, whose packages do not go with Debian's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from boxwright.lab.vendors.repository import Package
from boxwright.model.site import Distribution

# What it fetches so, by the release of the twin.
RUNS_DEBIANS: dict[Distribution, tuple[str, ...]] = {
    "debian-12": ("docker.io", "containerd", "runc"),
    "debian-13": ("docker.io", "containerd", "runc", "docker-cli"),
}
_RUN = "/usr/lib/simulated-docker/run"
_RUN_TEXT = """\
#!/bin/sh
# SIMULATED: the vendor's package holds no program. This runs Debian's of the same name.
set -eu
place=/var/lib/simulated-docker
(
	flock 9
	[ ! -d $place/root ] || exit 0
	rm -rf $place/draft
	mkdir -p $place/draft/packages $place/draft/root
	cd $place/draft/packages
	names="docker.io containerd runc"
	. /etc/os-release
	[ "$VERSION_ID" = 12 ] || names="$names docker-cli" # Debian 12's is in docker.io
	# Without preferences: the machine's keep Debian's packages from being installed.
	apt-get -qq -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null download $names >&2
	for package in *.deb; do dpkg-deb --extract "$package" ../root; done
	mv ../root $place/root
) 9>/run/simulated-docker.lock
PATH=$place/root/usr/sbin:$place/root/usr/bin:$PATH
export PATH
exec "$@"
"""
_CONTAINERD_UNIT = """\
[Unit]
Description=SIMULATED containerd.io: Debian's containerd
After=network.target local-fs.target
[Service]
Type=notify
ExecStart=/usr/bin/containerd
TimeoutStartSec=300
Delegate=yes
KillMode=process
Restart=always
RestartSec=5
[Install]
WantedBy=multi-user.target
"""
_SOCKET = """\
[Unit]
Description=SIMULATED docker-ce: socket
[Socket]
ListenStream=/run/docker.sock
SocketMode=0660
[Install]
WantedBy=sockets.target
"""
_DOCKER_UNIT = """\
[Unit]
Description=SIMULATED docker-ce: Debian's daemon
After=network-online.target docker.socket containerd.service
Wants=network-online.target containerd.service
Requires=docker.socket
StartLimitBurst=3
StartLimitIntervalSec=60
[Service]
Type=notify
ExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock
ExecReload=/bin/kill -s HUP $MAINPID
TimeoutStartSec=300
Delegate=yes
KillMode=process
Restart=always
RestartSec=2
[Install]
WantedBy=multi-user.target
"""


def docker_packages(versions: Iterable[str]) -> Iterator[Package]:
    """Docker's engine of these versions. containerd.io and the plugins have versions of their own, as at Docker."""
    for version in versions:
        yield Package(
            "docker-ce",
            version,
            {"Depends": "docker-ce-cli, containerd.io, iptables, libdevmapper1.02.1", "Conflicts": "docker.io"},
            programs={**_program("dockerd"), **_unit("docker.service", _DOCKER_UNIT)},
        )
        yield Package(
            "docker-ce-cli",
            version,
            {"Conflicts": "docker.io, docker-cli", "Depends": "containerd.io"},
            programs={**_program("docker"), **_unit("docker.socket", _SOCKET)},
        )
    yield Package(
        "containerd.io",
        "2.1.5-1",
        {"Conflicts": "containerd, runc", "Provides": "containerd, runc"},
        programs={**_program("containerd"), **_unit("containerd.service", _CONTAINERD_UNIT), _RUN: _RUN_TEXT},
    )
    yield Package("docker-buildx-plugin", "0.29.1-1")
    yield Package("docker-compose-plugin", "2.40.3-1")


def container_toolkit_packages(versions: Iterable[str]) -> Iterator[Package]:
    """The NVIDIA container toolkit of these versions: four packages that must be of one."""
    for version in versions:
        same = f"(= {version})"
        yield Package("libnvidia-container1", version)
        yield Package("libnvidia-container-tools", version, {"Depends": f"libnvidia-container1 {same}"})
        yield Package("nvidia-container-toolkit-base", version, unit="nvidia-cdi-refresh")
        depends = f"libnvidia-container-tools {same}, nvidia-container-toolkit-base {same}"
        yield Package("nvidia-container-toolkit", version, {"Depends": depends})


def _program(name: str) -> dict[str, str]:
    return {f"/usr/bin/{name}": f'#!/bin/sh\nexec {_RUN} {name} "$@"\n'}


def _unit(name: str, text: str) -> dict[str, str]:
    return {f"/usr/lib/systemd/system/{name}": text}
