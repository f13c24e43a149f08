"""What `lab.up`, `lab.down`, `lab.status` and `lab.ssh` do, told to a console."""

from __future__ import annotations

import os
import time
from typing import NoReturn

from boxwright.console import Console
from boxwright.errors import BadInputError
from boxwright.lab.lab import Lab
from boxwright.model.catalogues import load_site
from boxwright.provisioning.switched import forget
from boxwright.provisioning.target import Choice, choose, lab_of, twin_specs


def up(console: Console, profile: str, site: str, count: int, distribution: str) -> None:
    """Boot the twins of a site."""
    fleet = choose(Choice(profile=profile, site=site, count=count, distribution=distribution))
    if fleet.site.twin is None:
        raise _no_twins(site)
    began = time.monotonic()
    lab_of(fleet.site, console.info).up(twin_specs(fleet.site, fleet.profile))
    console.success(f"Up after {time.monotonic() - began:.1f} s.")
    status(console, site)


def down(console: Console, site: str) -> None:
    """Remove the twins of a site."""
    lab = _lab(console, site)
    lab.down()
    forget(lab.name)
    console.success(f"Nothing of lab {lab.name} is left but cached root filesystems.")


def status(console: Console, site: str) -> None:
    """Show the twins of a site."""
    twins = _lab(console, site).status()
    rows = [
        (
            twin.name,
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
    console.table("Twins", ["Name", "Distribution", "Address", "State", "Up", "Memory"], rows, kind="twin")


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
