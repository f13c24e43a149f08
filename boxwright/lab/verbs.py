"""What `lab.up`, `lab.down`, `lab.status` and `lab.ssh` do, told to a console."""

from __future__ import annotations

import os
import time
from typing import NoReturn, cast, get_args

from boxwright.console import Console
from boxwright.errors import BadInputError, did_you_mean
from boxwright.lab.lab import Lab
from boxwright.lab.vm import box as vm_box
from boxwright.model.catalogues import load_site
from boxwright.model.site import Distribution
from boxwright.provisioning.switched import forget
from boxwright.provisioning.target import Choice, choose
from boxwright.provisioning.twins import lab_of, twin_specs


def up(console: Console, choice: Choice) -> None:
    """Boot the twins of a site."""
    fleet = choose(choice)
    if fleet.site.twin is None:
        raise _no_twins(choice.site)
    began = time.monotonic()
    lab_of(fleet.site, console.info).up(twin_specs(fleet.site, fleet.profile))
    console.success(f"Up after {time.monotonic() - began:.1f} s.")
    status(console, choice.site)


def box(console: Console, site: str, distribution: str) -> None:
    """Make the box for Vagrant, and tell how to go on."""
    loaded = load_site(site)
    if distribution not in get_args(Distribution):
        known = get_args(Distribution)
        hint = f"There are: {', '.join(known)}."
        raise BadInputError(f"--distribution: no '{distribution}'.{did_you_mean(distribution, known)}", hint=hint)
    if not any(host.address for host in loaded.hosts):
        hint = "Vagrant gives the machines the addresses of the site's hosts: --site vagrant"
        raise BadInputError(f"the hosts of site '{site}' have no addresses", hint=hint)
    path = vm_box.build(loaded, cast("Distribution", distribution), console.info)
    console.data("box", {"name": vm_box.name_of(cast("Distribution", distribution)), "path": str(path)})
    console.success(f"Made {path}, {path.stat().st_size / 2**20:.0f} MiB.")
    console.info(f"Next: vagrant box add --force --name {path.stem} {path} && vagrant up")


def down(console: Console, site: str) -> None:
    """Remove the twins of a site."""
    lab = _lab(console, site)
    lab.down()
    forget(lab.name)
    console.success(f"Nothing of lab {lab.name} is left but cached root filesystems, and frozen VMs.")


def status(console: Console, site: str) -> None:
    """Show the twins of a site."""
    twins = _lab(console, site).status()
    rows = [
        (
            twin.name,
            twin.kind,
            twin.distribution,
            twin.address,
            twin.state,
            f"{(time.time() - twin.since) / 60:.0f} min" if twin.since else "",
            f"{twin.memory_bytes / 2**20:.0f} MiB",
        )
        for twin in twins
    ]
    if not rows and not console.json:
        console.info(f"No twin runs. Boot one: ./invoke lab.up --site {site}")
        return
    console.table("Twins", ["Name", "Kind", "Distribution", "Address", "State", "Up", "Memory"], rows, kind="twin")


def ssh(console: Console, site: str, host: str) -> NoReturn:
    """Become ssh into a twin."""
    lab = _lab(console, site)
    names = [twin.name for twin in lab.status() if twin.state == "running"]
    if not names:
        raise BadInputError("no twin runs", hint=f"Boot one: ./invoke lab.up --site {site}")
    twin = lab.twin(host or names[0])
    options = ["StrictHostKeyChecking=yes", f"UserKnownHostsFile={twin.known_hosts}", "IdentitiesOnly=yes"]
    words = [word for option in options for word in ("-o", option)]
    destination = ["-i", str(twin.key), "-p", str(twin.port), f"{twin.user}@{twin.address}"]
    os.execvp("ssh", ["ssh", *words, *destination])  # noqa: S606


def _lab(console: Console, site: str) -> Lab:
    loaded = load_site(site)
    if loaded.twin is None:
        raise _no_twins(site)
    return lab_of(loaded, console.info)


def _no_twins(site: str) -> BadInputError:
    return BadInputError(
        f"the hosts of site '{site}' are real machines", hint="A site with a `twin:` section has twins."
    )
