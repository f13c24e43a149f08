"""Sites that know twins by their addresses, as they know servers: for what a site of twins leaves out."""

from __future__ import annotations

from collections.abc import Sequence

from boxwright.lab import Lab, RunningTwin

# What a container says that a machine would not, or cannot say at all: a real box fails by it.
_OF_CONTAINERS = ("record.twin", "clock.synchronised", "disks.health", "logs.kernel")


def site_of_machines(
    name: str, lab: Lab, twins: Sequence[RunningTwin], further_hosts: str = "", waived: Sequence[str] = ()
) -> str:
    """The text of such a site; keys may be appended.

    Args:
        name: Of the site.
        lab: Whose twins they are.
        twins: Its hosts.
        further_hosts: Lines of further ones.
        waived: Further checks that these twins cannot hold.
    """
    rows = "".join(f"  - {{name: {twin.name}, address: {twin.address}}}\n" for twin in twins)
    waivers = "".join(
        f"  - {{check: {one}, by: the tests, reason: it is a container}}\n" for one in (*_OF_CONTAINERS, *waived)
    )
    return (
        f"name: {name}\nhosts:\n{rows}{further_hosts}"
        f"ssh: {{key: {twins[0].key}, known_hosts: {twins[0].known_hosts}, connect_timeout_s: 5}}\n"
        f"proxy: {lab.proxy_url}\nca_certificates: [{', '.join(map(str, lab.ca_certificates))}]\nwaivers:\n{waivers}"
    )
