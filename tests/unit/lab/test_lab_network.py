from __future__ import annotations

import pytest

from boxwright.errors import BadInputError, LabError
from boxwright.lab.network import LabNetwork, first_free_octet, free_host_octet
from boxwright.lab.spec import checked_name


def test_a_subnet_avoids_other_labs_and_every_overlapping_route() -> None:
    routes = ["default", "10.83.1.0/24", "10.83.2.7", "192.0.2.0/24", "0.0.0.0/0", "not an address"]
    assert first_free_octet({0}, routes) == 3
    assert first_free_octet((), ["10.83.0.0/17"]) == 128
    assert first_free_octet((), ["10.0.0.0/8"]) is None


def test_host_addresses_fill_gaps_and_end_before_the_gateway() -> None:
    assert free_host_octet({10, 12}) == 11
    with pytest.raises(LabError, match="full"):
        free_host_octet(set(range(10, 254)))


def test_namespaces_of_labs_with_similar_names_never_meet() -> None:
    assert LabNetwork("a", 0).twin_namespace(10) != LabNetwork("a-10", 1).namespace


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "a b", "-a", "a;rm", "a" * 64, "a\n"])
def test_names_that_could_leave_their_folder_are_refused(name: str) -> None:
    with pytest.raises(BadInputError):
        checked_name(name)
