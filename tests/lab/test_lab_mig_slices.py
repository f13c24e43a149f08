"""Slices of cards on a twin: the real role, systemd and reboot; a SIMULATED nvidia-smi, and nothing that computes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from role_bench import REPOSITORY, Bench, role_bench

from boxwright.lab import TwinSpec
from boxwright.lab.vendors.nvidia import nvidia_packages
from boxwright.model.catalogues import load_accelerators, load_profile
from deploys.operations.files import rendered

pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(600)]

STATE = "/var/lib/simulated-nvidia-smi.json"
SIMULATED = REPOSITORY / "boxwright/lab/vendors/simulated_nvidia_smi.py"
PAIR = [{"card": 0, "slices": [{"profile": "4g.40gb", "start": 0}, {"profile": "3g.40gb", "start": 4}]}]
# In place of an engine: it keeps what it was given to see, and stays.
ENGINE = """[Service]
ExecStart=/bin/sh -c 'echo "$CUDA_VISIBLE_DEVICES" > /run/{unit}.seen; exec sleep infinity'

"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    specs = [TwinSpec("trixie", "debian-13", load_profile("8x4090").hardware)]
    with role_bench("nvidia_driver", specs, tmp_path_factory.mktemp("mig"), lab_name="mig") as bench:
        bench.variables["repository"] = bench.put_repository("vendor", nvidia_packages(["580.95.05-1"]))
        yield bench


def cards(bench: Bench) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(bench.on(bench.twins[0], f"cat {STATE}"))
    return told


def put(bench: Bench, text: str, place: str) -> None:
    file = Path(bench.folder / place.rpartition("/")[2])
    file.write_text(text)
    bench.copy(file, place)


def seen(bench: Bench, unit: str) -> str:
    """What a unit in place of an engine sees, once it runs."""
    return bench.on(bench.twins[0], f"until [ -s /run/{unit}.seen ]; do sleep 0.1; done; cat /run/{unit}.seen").strip()


def test_without_slices_nothing_is_there_of_them(bench: Bench) -> None:
    bench.run().well()
    (twin,) = bench.twins
    assert bench.code_of(twin, "systemctl cat boxwright-mig.service") != 0
    assert bench.code_of(twin, "ls /etc/boxwright/mig.json") != 0


def test_cards_are_cut_at_boot_and_engines_see_their_slice_alone(bench: Bench) -> None:
    (twin,) = bench.twins
    known = load_accelerators().find("10de:2330")
    assert known
    assert known[1].mig
    kinds = {name: {"size": kind.size, "starts": kind.starts} for name, kind in known[1].mig.kinds.items()}
    card = {"name": "SIMULATED H100", "mig": "Disabled", "pending": "Disabled", "kinds": kinds, "instances": []}
    put(bench, json.dumps([card, card]), STATE)
    bench.copy(SIMULATED, "/usr/local/bin/nvidia-smi")
    bench.on(twin, "chmod 755 /usr/local/bin/nvidia-smi")
    bench.run(mig=PAIR).well(changed=3)  # folders, files, and a unit that is enabled
    assert cards(bench)[0]["instances"] == []  # no module is loaded here: the next boot cuts
    for number, profile in enumerate(("4g.40gb", "3g.40gb")):
        unit = f"engine-{number}"
        slice_of_it = rendered("engine_unit/mig_slice.j2", unit=unit, mig={"card": 0, "profile": profile, "number": 0})
        text = f"{slice_of_it}{ENGINE.format(unit=unit)}[Install]\nWantedBy=multi-user.target\n"
        put(bench, text, f"/etc/systemd/system/{unit}.service")
        bench.on(twin, f"systemctl enable --quiet {unit}")
    boot = bench.on(twin, "cat /proc/sys/kernel/random/boot_id")
    bench.code_of(twin, "systemctl reboot")
    bench.lab.up([TwinSpec("trixie", "debian-13", load_profile("8x4090").hardware)])
    assert (
        bench.on(
            twin, f"until systemctl is-active -q engine-1; do sleep 0.2; done; cat {'/proc/sys/kernel/random/boot_id'}"
        )
        != boot
    )
    ids = {one["profile"]: one["device"] for one in cards(bench)[0]["instances"]}
    assert (seen(bench, "engine-0"), seen(bench, "engine-1")) == (ids["4g.40gb"], ids["3g.40gb"])
    assert [card["mig"] for card in cards(bench)] == ["Enabled", "Disabled"]
    bench.run(mig=PAIR).well(changed=0)


def test_cards_that_are_cut_anew_stop_their_engines_and_start_them_again(bench: Bench) -> None:
    (twin,) = bench.twins
    before = seen(bench, "engine-0")
    changed = cards(bench)
    changed[0]["instances"][0]["device"] = None  # as when somebody removed a compute instance by hand
    put(bench, json.dumps(changed), STATE)
    bench.on(twin, "rm /run/engine-*.seen; systemctl restart boxwright-mig")
    after = seen(bench, "engine-0")
    assert after.startswith("MIG-")
    assert after != before


def test_an_engine_without_its_slice_does_not_start(bench: Bench) -> None:
    (twin,) = bench.twins
    bench.on(twin, "systemctl stop engine-0; rm /run/engine-0.seen /run/boxwright/mig/engine-0.env")
    bench.on(twin, "sed -i 's/0 4g.40gb 0/0 1g.10gb 0/' /etc/systemd/system/engine-0.service; systemctl daemon-reload")
    assert bench.code_of(twin, "systemctl start engine-0") != 0
    journal = bench.on(twin, "journalctl -u engine-0 -o cat --no-pager")
    assert "engine-0 computes on slice 0 of kind 1g.10gb on card 0; there are: 4g.40gb on card 0, 3g.40gb" in journal
    assert bench.code_of(twin, "ls /run/engine-0.seen") != 0


def test_without_slices_again_cards_are_whole(bench: Bench) -> None:
    (twin,) = bench.twins
    bench.on(
        twin, "rm /etc/systemd/system/engine-*.service; systemctl daemon-reload; systemctl stop engine-0 engine-1; true"
    )
    bench.run().well()
    assert bench.code_of(twin, "ls /etc/boxwright/mig.json /etc/systemd/system/boxwright-mig.service") != 0
    bench.run().well(changed=0)
