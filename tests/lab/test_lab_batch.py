"""Many hosts in one command: a broken one stops alone, and the exit code says that some are not finished."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fresh_lab import fresh_lab
from lab_command import Boxwright

from boxwright.errors import Exit
from boxwright.lab import Lab, TwinSpec
from boxwright.model.catalogues import load_profile

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with fresh_lab("test-batch") as lab:
        yield lab


def test_eight_hosts_with_two_broken_ones(lab: Lab, boxwright: Boxwright, tmp_path: Path) -> None:
    hardware = load_profile("lab").hardware
    specs = [TwinSpec(f"batch-{number}", "debian-12", hardware) for number in range(1, 7)]
    specs.append(TwinSpec("batch-full", "debian-12", hardware, disk_mib=64))
    twins = lab.up(specs)
    full = twins[-1]
    rows = [f"  - {{name: {twin.name}, address: {twin.address}}}" for twin in twins]
    rows.append("  - {name: batch-gone, address: " + full.address.rsplit(".", 1)[0] + ".250}")
    site = tmp_path / "site.yml"
    site.write_text(
        "name: batch\nhosts:\n"
        + "\n".join(rows)
        + f"\nssh: {{key: {full.key}, known_hosts: {full.known_hosts}, connect_timeout_s: 5}}\nproxy: {lab.proxy_url}\n"
        + f"ca_certificates: [{', '.join(map(str, lab.ca_certificates))}]\n"
    )
    fill = "dd if=/dev/zero of=/filler bs=1M 2>/dev/null; true"
    from boxwright.transport.ssh import Endpoint, run

    run(Endpoint(full.name, full.address, 22, "root", full.key, full.known_hosts, 5), fill)

    ran = boxwright("provision", "--profile", "lab", "--site", str(site), "--yes", "--stages", "base,kernel")
    assert ran.code == Exit.PARTIAL, ran.text[-3000:]
    stages = {(line["host"], line["stage"]): line["state"] for line in ran.kind("stage")}
    for number in range(1, 7):
        assert stages[f"batch-{number}", "kernel"] in ("ok", "changed")
    told = {error["where"].split(" / ")[0]: error for error in ran.kind("error")}
    assert set(told) == {"batch-full", "batch-gone"}, ran.text[-3000:]
    assert "No space left" in str(told["batch-full"])
