"""Models that have to lie on cards: where they do, where they fell back to the processor, and what `verify` says of it.

The engine is a real llama-server, on the processor. The twin's cards and their nvidia-smi are SIMULATED: it tells of
each start of the program what the test says that a driver would.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy_bench import Boxes, deploy_bench, llama_cpp_data, llama_cpp_service, llama_cpp_words, models_data
from pydantic import SecretStr
from simulated_card import card_holds

from boxwright.lab import RunningTwin, TwinSpec
from boxwright.model.catalogues import load_models, load_profile
from boxwright.model.hardware import Cpu, Hardware
from boxwright.model.residency import CardResidency
from boxwright.vault import SECRET_NAMES, HostSecrets
from boxwright.verification import ACCEPTANCE_SUITE, Check, CheckOutcome, VerifyHost, VerifyJob, run

# Two minutes on a twin of its own: on demand.
pytestmark = [pytest.mark.lab, pytest.mark.on_demand, pytest.mark.timeout(900)]

HARDWARE = Hardware(cpu=Cpu(cores_per_socket=2), memory_gib=4, disk_gib=4)
KEY = "lab-engine-key-04c5"
FOLDER = "/srv/models/smollm2"
RESIDENCY = CardResidency(
    units=("llama-server.service",),
    container=None,
    cards=(0,),
    tool="nvidia-smi",
    expected_bytes=150_000_000,
    least_bytes=100_000_000,
    least_each_bytes=0,
    layers="all",
)
ON_THE_CARD = "--ctx-size 4096"  # a part of the command line of the start that the simulated driver sees on its card
LOG = "/etc/systemd/system/llama-server.service.d/simulated.conf"
SERVES_AGAIN = "llama-server.service serves smollm2-135m-instruct again, with the files that it had."


def wanted(**changes: Any) -> dict[str, Any]:
    told = RESIDENCY.model_dump(mode="json")
    return llama_cpp_service(cards=True, residency=told) | changes


def shorter() -> dict[str, Any]:
    """A start that the simulated driver does not see."""
    return wanted(arguments=llama_cpp_words(context_tokens=512))


class Box(Boxes):
    """A twin with a card that is simulated."""

    @property
    def twin(self) -> RunningTwin:
        (twin,) = self.twins
        return twin

    def card_holds(self, mib: int | None, command: str = ON_THE_CARD) -> None:
        card_holds(self, self.twin, command, mib)

    def log_tells(self, line: str) -> None:
        """What a build for cards would write into its log when it starts."""
        self.on(
            self.twin,
            f"mkdir -p {LOG.rpartition('/')[0]}; cat > {LOG}",
            f"[Service]\nExecStartPre=/usr/bin/echo {line}\n",
        )

    def given(self, service: dict[str, Any]) -> int:
        return self.changes("llama_cpp", llama_cpp_services=[service])

    def refused(self, service: dict[str, Any]) -> str:
        output, _ = (process := self.deploy("llama_cpp", llama_cpp_services=[service])).communicate(timeout=400)
        assert process.returncode != 0, output[-2000:]
        return str(output)

    def context(self) -> str:
        """What is served at the moment."""
        running = self.on(self.twin, "tr '\\0' ' ' < /proc/$(systemctl show -p MainPID --value llama-server)/cmdline")
        return running.partition("--ctx-size ")[2].partition(" ")[0]

    def verified(self, folder: Path, *, twin: bool = True) -> Check:
        """The check of `verify`, run on its own: a twin with cards has no stack otherwise."""
        for name in ("conftest.py", "test_residency.py"):
            shutil.copy(ACCEPTANCE_SUITE / name, folder / name)
        host = VerifyHost(
            name=self.twin.name,
            address=self.twin.address,
            port=self.twin.port,
            user=self.twin.user,
            key=self.twin.key,
            known_hosts=self.twin.known_hosts,
            api_url=f"https://{self.twin.address}/v1",
            api_user="api",
            chat_url=None,
            admin_email="a@example.org",
            engine_url="http://127.0.0.1:8000",
            model_alias="smollm2",
            residencies=(RESIDENCY,),
            twin=twin,
            profile=load_profile("lab"),
            secrets=HostSecrets(**{name: SecretStr(f"the-{name}-of-the-test") for name in SECRET_NAMES}),
        )
        job = VerifyJob(hosts=(host,), run_logs=folder)
        (check,) = (one for one in run(job, lambda _: None, suite=folder) if one.id == "engine.residency")
        return check


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    spec = TwinSpec("r13", "debian-13", HARDWARE)
    with deploy_bench("test-residency", [spec], tmp_path_factory.mktemp("residency")) as made:
        model = load_models().find("smollm2")
        assert model
        made.data = {
            **models_data(made.lab, FOLDER, [file.model_dump() for file in model.builds[0].files]),
            **llama_cpp_data(made.lab, KEY, []),
        }
        assert made.changes("models")
        yield Box(made.lab, made.twins, made.folder, made.data)


def test_without_a_driver_that_answers_nothing_counts_as_served(box: Box) -> None:
    output = box.refused(wanted())
    assert "what is on the cards cannot be asked: nvidia-smi: No such file or directory" in output
    assert "Nothing was proven to serve here before" in output


def test_a_model_on_its_card_serves_and_then_nothing_changes(box: Box, tmp_path: Path) -> None:
    box.card_holds(160)
    assert box.given(wanted())
    assert box.given(wanted()) == 0
    check = box.verified(tmp_path)
    assert check.outcome is CheckOutcome.PASS, check
    assert check.evidence == "llama-server.service: card 0 0.17 GB; its model takes 0.15 GB there"


def test_an_upgrade_that_falls_back_to_the_processor_gives_way_to_what_served(box: Box) -> None:
    assert box.context() == "4096"
    output = box.refused(shorter())
    assert "llama-server.service has 0.00 GB on its cards; its model takes 0.15 GB there (card 0 0.00 GB)" in output
    assert SERVES_AGAIN in output
    assert box.context() == "4096"
    assert box.given(wanted()) == 0


def test_too_few_layers_on_cards_give_way_too(box: Box, tmp_path: Path) -> None:
    """A line of the log that its own build for cards would write is put there by the test."""
    box.card_holds(160, command="llama-server")
    box.log_tells("SIMULATED: load_tensors: offloaded 31/31 layers to GPU")
    box.on(box.twin, "systemctl daemon-reload")
    assert box.given(shorter())
    assert "31 of 31 layers by its own log" in box.verified(tmp_path).evidence
    box.log_tells("SIMULATED: load_tensors: offloaded 12/31 layers to GPU")
    output = box.refused(wanted())
    assert "llama-server.service has put 12 of 31 layers on cards, and 31 belong there" in output
    box.on(box.twin, f"rm {LOG}; systemctl daemon-reload")
    assert box.given(wanted())


def test_what_the_driver_does_not_count_is_said_and_not_proven(box: Box, tmp_path: Path) -> None:
    box.card_holds(None)
    assert box.given(wanted()) == 0
    check = box.verified(tmp_path)
    assert check.outcome is CheckOutcome.UNPROVEN, check
    assert "the driver does not tell how much of their memory it has" in check.evidence
    assert box.verified(tmp_path, twin=False).outcome is CheckOutcome.FAIL  # on a real machine


def test_an_engine_that_lost_its_card_since_is_found_and_started_anew(box: Box, tmp_path: Path) -> None:
    started = "systemctl show --property=ActiveEnterTimestampMonotonic --value llama-server"
    before = box.on(box.twin, started)
    box.card_holds(0)
    check = box.verified(tmp_path)
    assert check.outcome is CheckOutcome.FAIL, check
    assert "has 0.00 GB on its cards" in check.evidence
    assert check.severity == "critical"
    output = box.refused(wanted())
    assert "has 0.00 GB on its cards" in output
    assert "there is nothing else to go back to" in output
    assert box.on(box.twin, started) != before
    box.card_holds(160)
    assert box.given(wanted()) == 0
    assert box.verified(tmp_path).outcome is CheckOutcome.PASS
