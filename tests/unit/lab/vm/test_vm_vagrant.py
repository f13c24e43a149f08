"""What the Vagrantfile is told of a site's machines."""

from __future__ import annotations

import pytest

from boxwright.errors import BadInputError
from boxwright.lab.vm.vagrant import machines
from boxwright.model.catalogues import load_profile, load_site, profile_names
from boxwright.model.site import Host, Site


def test_a_machine_has_the_address_of_the_site_and_the_hardware_of_the_profile() -> None:
    told = machines(load_profile("lab"), load_site("vagrant"), 2)["machines"]
    assert isinstance(told, list)
    assert told[0]["address"] == "192.168.83.10"
    assert (told[0]["sockets"], told[0]["cores"], told[0]["memory_mib"]) == (1, 2, 4096)


@pytest.mark.parametrize("profile", profile_names())
def test_every_profile_has_nodes_that_vagrant_takes(profile: str) -> None:
    hardware = load_profile(profile).hardware
    told = machines(load_profile(profile), load_site("vagrant"), 2)["machines"]
    assert isinstance(told, list)
    assert len(told[0]["nodes"]) == hardware.numa_nodes
    assert all(node["cpus"].count("-") == 1 for node in told[0]["nodes"])
    last = int(told[0]["nodes"][-1]["cpus"].partition("-")[2])
    assert last + 1 == told[0]["sockets"] * told[0]["cores"] * told[0]["threads"]


def test_a_host_without_an_address_is_refused() -> None:
    site = Site(name="x", hosts=(Host(name="one"),), twin={"kind": "vm"})
    with pytest.raises(BadInputError, match="no address for one"):
        machines(load_profile("lab"), site, 2)
