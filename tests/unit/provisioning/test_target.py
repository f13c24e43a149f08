"""What a person chose, made into a fleet: by a site, by one address, by a number of twins. Nothing is contacted."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.errors import BadInputError
from boxwright.model.catalogues import INVENTORIES
from boxwright.provisioning.target import Choice, choose, in_whole_boxes, single_host
from boxwright.provisioning.twins import needs_vendors, twin_specs

TWINS = "name: {name}\ntwin: {{distribution: debian-13}}\nhosts: [{{name: own-1}}]\n"


@pytest.fixture
def twins(tmp_path: Path) -> str:
    path = tmp_path / "site.yml"
    path.write_text(TWINS.format(name="bench"))
    return str(path)


@pytest.mark.parametrize(
    ("text", "user", "address", "port", "name"),
    [
        ("192.0.2.7", "root", "192.0.2.7", 22, "192-0-2-7"),
        ("ada@192.0.2.7", "ada", "192.0.2.7", 22, "192-0-2-7"),
        ("ada@192.0.2.7:2222", "ada", "192.0.2.7", 2222, "192-0-2-7"),
        ("Box.Example", "root", "Box.Example", 22, "box-example"),
        ("root@2001:db8::7", "root", "2001:db8::7", 22, "2001-db8--7"),
        ("root@[2001:db8::7]", "root", "2001:db8::7", 22, "2001-db8--7"),
        ("root@[2001:db8::7]:2222", "root", "2001:db8::7", 2222, "2001-db8--7"),
        (f"{'a' * 62}.example", "root", f"{'a' * 62}.example", 22, "a" * 62),
    ],
)
def test_one_host_by_its_address(text: str, user: str, address: str, port: int, name: str) -> None:
    site = single_host(text)
    (host,) = site.hosts
    assert (site.ssh.user, host.address, host.port or site.ssh.port, host.name) == (user, address, port, name)
    assert site.twin is None


@pytest.mark.parametrize(
    "text",
    [
        "root@",
        "@",
        "a b",
        "root@192.0.2.7:ssh",
        "root@192.0.2.7:0",
        "root@192.0.2.7:65536",
        "ROOT@192.0.2.7",
        "root@192.0.2.7;reboot",
        "-oProxyCommand=id@192.0.2.7",
        "root@-oProxyCommand=id",
        "root@[2001:db8::7",
        "root@[2001:db8::7]2222",
        "root@[192.0.2.7]:x",
        "root@2001:db8::zz",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInputError, match="is not USER@ADDRESS") as refused:
        single_host(text)
    assert "--host root@10.0.0.5" in refused.value.hint


def test_a_site_is_taken_as_it_is(twins: str) -> None:
    fleet = choose(Choice("lab", site=twins))
    assert [host.name for host in fleet.hosts] == ["own-1"]
    assert [spec.distribution for spec in twin_specs(fleet.site, fleet.profile)] == ["debian-13"]


def test_a_host_goes_before_the_site(twins: str) -> None:
    fleet = choose(Choice("lab", site=twins, host="192.0.2.7"))
    assert [host.address for host in fleet.hosts] == ["192.0.2.7"]


def test_a_mistyped_name_of_a_sites_host_is_no_other_machine(twins: str) -> None:
    with pytest.raises(BadInputError, match=r"has no host 'own-2'\. Did you mean 'own-1'") as refused:
        choose(Choice("lab", site=twins, host="own-2"))
    assert "without --site" in refused.value.hint
    for site, host in ((twins, "root@box"), (twins, "box.example"), ("lab", "box")):
        assert [one.address for one in choose(Choice("lab", site=site, host=host)).hosts] == [
            host.removeprefix("root@")
        ]


def test_a_host_of_the_site_is_taken_with_all_that_the_site_says(tmp_path: Path) -> None:
    path = tmp_path / "own.yml"
    hosts = "hosts: [{name: one, address: 192.0.2.1}, {name: two, address: 192.0.2.2}]\n"
    path.write_text(f"name: own\nproxy: http://192.0.2.9:3128\n{hosts}")
    for named in ("two", "192.0.2.2"):
        fleet = choose(Choice("lab", site=str(path), host=named))
        assert [host.name for host in fleet.hosts] == ["two"]
        assert fleet.site.proxy == "http://192.0.2.9:3128"
        assert len(fleet.site.hosts) == 2


def test_as_many_twins_as_were_asked_for(twins: str) -> None:
    fleet = choose(Choice("lab", site=twins, count=3, distribution="debian-12"))
    assert [host.name for host in fleet.hosts] == ["bench-1", "bench-2", "bench-3"]
    assert {spec.distribution for spec in twin_specs(fleet.site, fleet.profile)} == {"debian-12"}


def test_another_distribution_keeps_the_sites_hosts(twins: str) -> None:
    fleet = choose(Choice("lab", site=twins, distribution="debian-12"))
    assert [(spec.name, spec.distribution) for spec in twin_specs(fleet.site, fleet.profile)] == [
        ("own-1", "debian-12")
    ]


def test_a_box_of_two_machines_gets_two_twins_unasked(twins: str) -> None:
    assert [host.name for host in choose(Choice("2x8xh20", site=twins)).hosts] == ["bench-1", "bench-2"]
    assert len(choose(Choice("2x8xh20", site=twins, count=4)).hosts) == 4
    with pytest.raises(BadInputError, match="a 2x8xh20 is 2 machines, and the site has 3"):
        choose(Choice("2x8xh20", site=twins, count=3))


@pytest.mark.parametrize("named", ["b-1", "b-2", "192.0.2.4"])
def test_one_machine_of_a_box_stands_for_all_of_them(tmp_path: Path, named: str) -> None:
    path, names = tmp_path / "own.yml", ("a-1", "a-2", "b-1", "b-2")
    hosts = ", ".join(f"{{name: {name}, address: 192.0.2.{number}}}" for number, name in enumerate(names, 1))
    path.write_text(f"name: own\nhosts: [{hosts}]\n")
    fleet = choose(Choice("2x8xh20", site=str(path), host=named))
    assert len(fleet.hosts) == 1
    assert [host.name for host in in_whole_boxes(fleet).hosts] == ["b-1", "b-2"]
    assert in_whole_boxes(choose(Choice("2x8xh20", site=str(path)))).left_out == frozenset()


def test_one_address_is_no_box_of_several_machines(twins: str) -> None:
    with pytest.raises(BadInputError, match=r"has no host 'bench-3'\. Did you mean 'bench-[12]'") as refused:
        choose(Choice("2x8xh20", site=twins, host="bench-3"))
    assert refused.value.hint == "A 2x8xh20 is 2 machines, so it is one of the site's: bench-1, bench-2."


def test_a_twin_that_a_box_needs_is_known_by_its_name(twins: str) -> None:
    fleet = choose(Choice("2x8xh20", site=twins, host="bench-2"))
    assert [host.name for host in fleet.hosts] == ["bench-2"]
    assert [host.name for host in in_whole_boxes(fleet).hosts] == ["bench-1", "bench-2"]


@pytest.mark.parametrize("count", [-1, 65])
def test_no_lab_of_that_size(twins: str, count: int) -> None:
    with pytest.raises(BadInputError, match="a lab has 1 to 64 twins"):
        choose(Choice("lab", site=twins, count=count))


def test_a_distribution_that_twins_do_not_have(twins: str) -> None:
    with pytest.raises(BadInputError, match=r"no 'debian-14'\. Did you mean 'debian-1[23]'\?") as refused:
        choose(Choice("lab", site=twins, distribution="debian-14"))
    assert refused.value.hint == "There are: debian-12, debian-13."


@pytest.mark.parametrize("asked", [{"count": 2}, {"distribution": "debian-12"}])
def test_real_machines_cannot_be_multiplied_nor_given_another_system(asked: dict[str, object]) -> None:
    with pytest.raises(BadInputError, match="are for twins"):
        choose(Choice("lab", host="192.0.2.7", **asked))


def test_twins_cannot_be_called_after_every_site(tmp_path: Path) -> None:
    path = tmp_path / "site.yml"
    path.write_text(TWINS.format(name="my_bench"))
    with pytest.raises(BadInputError, match="no twin can be called 'my_bench-1'") as refused:
        choose(Choice("lab", site=str(path), count=2))
    assert "lower-case letters" in refused.value.hint


def test_twins_have_the_profiles_machine_and_vendors_only_where_it_installs_theirs(twins: str) -> None:
    big, small = choose(Choice("8x4090", site=twins)), choose(Choice("lab", site=twins))
    (spec,) = twin_specs(big.site, big.profile)
    assert (spec.hardware, spec.containers, spec.vendors) == (big.profile.hardware, True, True)
    (spec,) = twin_specs(small.site, small.profile)
    assert (spec.containers, spec.vendors) == (False, False)
    assert needs_vendors(big.profile)
    assert not needs_vendors(small.profile)


def test_drivers_that_the_cards_do_not_take_are_refused_here(tmp_path: Path, twins: str) -> None:
    profile = tmp_path / "odd.yml"
    profile.write_text(
        "name: odd\nsummary: s\nparts: [gpu-server, serves-70b]\n"
        "hardware:\n  cpu: {cores_per_socket: 2}\n  memory_gib: 64\n  disk_gib: 100\n"
        '  accelerators: [{name: GeForce RTX 5090, pci_id: "10de:2b85", count: 1, memory_gib: 32}]\n'
        'nvidia_driver: {branch: "535"}\n'
    )
    with pytest.raises(BadInputError, match="535"):
        choose(Choice(str(profile), site=twins))


def test_a_stack_that_cannot_run_is_refused_before_anything_is_contacted(tmp_path: Path, twins: str) -> None:
    path = tmp_path / "lab.yml"
    text = (INVENTORIES / "profiles" / "lab.yml").read_text()
    path.write_text(f"{text}  engine_settings: {{mlock: true}}\n")
    with pytest.raises(BadInputError) as refused:
        choose(Choice(str(path), site=twins))
    assert refused.value.message == "engine_settings: '--mlock' is gone from llama_cpp since before b11312"
    assert refused.value.hint == "Write --load-mode: mmap+mlock."
