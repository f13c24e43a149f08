"""The twins of a site: what they are, what they are given in the place of vendors, and the site once they run."""

from __future__ import annotations

from collections.abc import Callable

from boxwright.errors import BoxwrightError
from boxwright.lab import Lab, RunningTwin, TwinSpec
from boxwright.lab.vendors.ollama import archive_for_twins
from boxwright.lab.vendors.shelf import Shelf
from boxwright.model.profile import Profile
from boxwright.model.site import Artefacts, Host, Repositories, Site, Ssh

_EMULATED_CONNECT_S = 60  # an emulated processor takes seconds for an ssh handshake, more while it has other work


def lab_of(site: Site, progress: Callable[[str], None]) -> Lab:
    """The lab in which the twins of a site live."""
    return Lab(site.name, mirrors=site.mirrors, progress=progress)


def twin_specs(site: Site, profile: Profile) -> list[TwinSpec]:
    """The twins that a site asks for."""
    assert site.twin is not None  # noqa: S101  asked for twin sites alone
    return [
        TwinSpec(
            host.name,
            site.twin.distribution,
            profile.hardware,
            containers=profile.container_runtime is not None,
            vendors=needs_vendors(profile),
            kind=site.twin.kind,
        )
        for host in site.hosts
    ]


def needs_vendors(profile: Profile) -> bool:
    """Whether a profile installs what comes from vendors, for which twins have simulated ones."""
    sections = (
        profile.nvidia_driver,
        profile.cuda_toolkit,
        profile.amd_rocm,
        profile.ascend,
        profile.hygon_dtk,
        profile.container_runtime,
    )
    return any(section is not None for section in sections)


def with_vendors(site: Site, shelf: Shelf) -> dict[str, Repositories | Artefacts]:
    """What is another in a site of twins: its own vendors, and simulated ones in the place of those that it lacks."""
    own = {name: value for name, value in site.repositories if value is not None}
    supplied = {vendor: parts for vendor, parts in site.artefacts if parts}
    return {
        "repositories": shelf.repositories.model_copy(update=own),
        "artefacts": shelf.artefacts.model_copy(update=supplied),
    }


def with_ollama(site: Site, release: str, progress: Callable[[str], None]) -> Site:
    """The site's own archive of Ollama, or what twins are given in its place."""
    own = site.artefacts.ollama
    if any(one.version == release for one in own):
        return site
    given = archive_for_twins(release, progress, site.mirrors)
    return site.model_copy(update={"artefacts": site.artefacts.model_copy(update={"ollama": (*own, given)})})


def with_twins(site: Site, profile: Profile, progress: Callable[[str], None], *, boot: bool) -> Site:
    """The site at the places of its twins, which are booted unless they must be there.

    Raises:
        BoxwrightError: One must be there, and does not run.
        LabError: One could not be booted.
    """
    lab = lab_of(site, progress)
    if boot:
        twins = lab.up(twin_specs(site, profile))
    else:
        running = {status.name for status in lab.status() if status.state == "running"}
        missing = [host.name for host in site.hosts if host.name not in running]
        if missing:
            raise BoxwrightError(
                f"no twin runs as {', '.join(missing)}",
                hint=f"Boot it: ./invoke lab.up --profile {profile.name}",
            )
        twins = [lab.twin(host.name) for host in site.hosts]
    authorities = tuple(str(path) for path in lab.ca_certificates)
    ssh = Ssh(user=twins[0].user, key=str(twins[0].key), known_hosts=str(twins[0].known_hosts))
    if any(twin.kind == "vm" for twin in twins):
        ssh = ssh.model_copy(update={"connect_timeout_s": _EMULATED_CONNECT_S})
    return site.model_copy(
        update={
            "hosts": tuple(_as_twin(host, twin) for host, twin in zip(site.hosts, twins, strict=True)),
            "ssh": ssh,
            "proxy": site.proxy or lab.proxy_url,
            "ca_certificates": (*site.ca_certificates, *authorities),
            **(with_vendors(site, lab.vendors) if needs_vendors(profile) else {}),
        }
    )


def _as_twin(host: Host, twin: RunningTwin) -> Host:
    """A host at the place of its twin, which has none of its disks."""
    own = {"serial": host.serial, "server_name": host.server_name}
    return Host(name=twin.name, address=twin.address, port=twin.port, **own)
