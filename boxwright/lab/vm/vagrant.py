"""What the Vagrantfile asks: the machines of a site, as JSON.

python -m boxwright.lab.vm.vagrant PROFILE SITE
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from boxwright.errors import BadInputError, BoxwrightError
from boxwright.lab.places import vagrant
from boxwright.lab.vm.box import name_of
from boxwright.lab.vm.topology import Topology, topology
from boxwright.model.catalogues import load_profile, load_site
from boxwright.model.profile import Profile
from boxwright.model.site import Site


def machines(profile: Profile, site: Site, processors: int) -> dict[str, object]:
    """What Vagrant is told: the key that enters the machines, and each with its share of the profile's hardware.

    Raises:
        BadInputError: The hosts have no addresses that Vagrant could give them.
    """
    missing = [host.name for host in site.hosts if host.address is None]
    if missing:
        raise BadInputError(f"site '{site.name}' has no address for {', '.join(missing)}, which Vagrant gives them")
    shape = topology(profile.hardware, processors)
    cpu = shape.shape.cpu
    common: dict[str, object] = {
        "box": name_of("debian-12"),
        "memory_mib": shape.mib_per_node * shape.shape.numa_nodes,
        "sockets": cpu.sockets,
        "cores": cpu.cores_per_socket,
        "threads": cpu.threads_per_core,
        "nodes": _nodes(shape),
    }
    hosts = [common | {"name": host.name, "address": host.address} for host in site.hosts]
    return {"key": str(vagrant() / "id_ed25519"), "machines": hosts}


def _nodes(shape: Topology) -> list[dict[str, object]]:
    """Processors as one range, which is all that vagrant-libvirt takes: none where they are several."""
    placed = shape.processors_by_node()
    if any(cpus != list(range(cpus[0], cpus[-1] + 1)) for cpus in placed):
        return []
    return [{"cpus": f"{cpus[0]}-{cpus[-1]}", "memory_mib": shape.mib_per_node} for cpus in placed]


def main(arguments: Sequence[str]) -> int:
    """Print the machines; on an error, what is wrong and what to do."""
    try:
        profile, site = arguments
        told = machines(load_profile(profile), load_site(site), os.cpu_count() or 1)
    except BoxwrightError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
