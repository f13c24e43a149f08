"""A box that loses its power again and again while it is made: each run goes on, and the last one ends verified.

What the box had not synced is lost each time, as on a machine: the twin's disk is an ext4 that is shut down hard.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from as_machines import site_of_machines
from lab_command import Boxwright
from power_cut import PoweredTwin, powered_twin

from boxwright.errors import Exit
from boxwright.lab import TwinSpec
from boxwright.model.catalogues import load_profile
from boxwright.transport.ssh import Endpoint, check

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(1800)]

# What runs write on their way to what they are to leave.
REST = (
    r"find /etc /opt /srv /usr/local /var/lib/boxwright /var/lib/dpkg -xdev \( -name '*.new' -o -name '.work' "
    r"-o -name '*.part' -o -name '*.piece' -o -name '*.dpkg-new' -o -name '*.boxwright' \)"
)


@dataclass(frozen=True)
class Box:
    power: PoweredTwin
    spec: TwinSpec
    words: tuple[str, ...]
    boxwright: Boxwright

    def on(self, script: str) -> str:
        twin = self.power.twin
        return check(Endpoint(twin.name, twin.address, twin.port, twin.user, twin.key, twin.known_hosts, 10), script)

    def wrote(self, place: str) -> list[Path]:
        """Files of the box of such a name, as they would be on its disk if that were synced."""
        return list(self.power.disk.joinpath("upper").glob(place))

    def lose_power_when_it_wrote(self, place: str, after_s: float = 0) -> None:
        """Provision it, and cut its power in the middle."""
        run = self.boxwright.start("provision", *self.words, "--json")
        with ThreadPoolExecutor(max_workers=1) as pool:
            said = pool.submit(run.communicate)  # a run whose lines nobody reads stands still
            try:
                self.power.until(lambda: said.done() or bool(self.wrote(place)), 400)
                time.sleep(after_s)
                assert not said.done(), said.result()[0][-3000:]
            except BaseException:
                run.kill()
                raise
            self.power.cut()
            out, err = said.result(timeout=120)
        assert run.returncode == Exit.ERROR, out[-3000:] + err[-2000:]
        self.power.start(self.spec)


@pytest.fixture(scope="module", params=["debian-12", "debian-13"])
def box(
    request: pytest.FixtureRequest, boxwright: Boxwright, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Box]:
    folder = tmp_path_factory.mktemp("power")
    spec = TwinSpec("power-1", request.param, load_profile("lab").hardware)
    with powered_twin("test-power", spec, folder / "disk.img", 6000) as power:
        site = folder / "site.yml"
        site.write_text(site_of_machines("power", power.lab, [power.twin]))
        made = Box(power, spec, ("--profile", "lab", "--site", str(site), "--yes"), boxwright)
        made.on("rm /etc/dpkg/dpkg.cfg.d/twin; sync")  # a twin's dpkg syncs nothing; that of a machine does
        yield made


def test_a_box_that_loses_its_power_on_and_on_is_made_all_the_same(box: Box) -> None:
    box.lose_power_when_it_wrote("etc/nginx/nginx.conf")
    assert box.on("test -e /etc/nginx/nginx.conf && ! test -s /etc/nginx/nginx.conf && dpkg --audit") != ""
    box.lose_power_when_it_wrote("srv/models/*/*/*.part")
    box.lose_power_when_it_wrote("opt/boxwright/open-webui/*", 4)

    ran = box.boxwright("provision", *box.words)
    assert ran.code == Exit.OK, ran.text[-3000:]
    assert ran.failed_checks == {}
    assert box.on(REST) == ""
    assert box.on("dpkg --audit") == ""
    again = box.boxwright("provision", *box.words)
    assert not [event for event in again.kind("event") if event["outcome"] == "changed"], again.text[-3000:]
