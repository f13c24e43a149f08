"""Who is looked at before anything is changed, and who is taken no further.

Two machines stand behind this ssh: one is the machine that runs the tests, where the real probe runs, and the other
answers with something else. A third does not answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from targets import target

from boxwright.detection.contract import Result
from boxwright.errors import BoxwrightError, LockedError, UnreachableError
from boxwright.provisioning.contract import Examination, examine, refusal, split
from boxwright.provisioning.outcome import HostOutcome
from boxwright.provisioning.verbs import without_failed
from boxwright.reports.certificate import UsedBundle

SSH = """
case "${@: -2:1}" in
here) eval "exec ${!#}" ;;
odd) echo 'This account is not available.' ;;
*) echo 'ssh: connect to host gone port 22: No route to host' >&2; exit 255 ;;
esac
"""
FITS = Result("cpu.cores", "ok", "2", "2")
POOR = Result("memory.channels", "warning", "2 of 8", "8 of 8", "Move the modules.")
NARROW = Result("pcie.width", "refused", "x8", "x16", "Reseat the card.")
SEVEN = Result("accelerators.count", "refused", "7", "8", "Reseat the card.")


def test_each_host_is_looked_at_and_one_that_cannot_be_keeps_nobody(
    stand_in: Callable[[str, str], None], own_places: Path
) -> None:
    stand_in("ssh", SSH)
    found = examine(target("gone", "here", "odd"))
    assert set(found.contracts) == {"here"}
    assert {"cpu.cores", "memory.size", "disk.size"} <= {result.check for result in found.contracts["here"]}
    assert set(found.failures) == {"odd"}
    assert set(found.unreachable) == {"gone"}  # why it is gone is told by its run
    assert "This account is not available." in found.failures["odd"].output


def test_out_of_a_bundle_only_boxes_of_its_release_are_made(
    stand_in: Callable[[str, str], None], own_places: Path
) -> None:
    stand_in("ssh", SSH)
    wanted = target("gone", "here")
    found = examine(wanted)
    own = found.machines["here"].release

    def of(release: str) -> tuple[list[str], dict[str, BoxwrightError | None]]:
        used = UsedBundle.model_construct(profile="lab", distribution=release)
        rest, outcomes = split(replace(wanted, used=used), found)
        return [host.name for host in rest.fleet.hosts], {one.host: one.error for one in outcomes}

    assert of(own) == (["here"], {"gone": found.unreachable["gone"]})
    left, errors = of("debian-11")
    assert left == []
    assert f"it runs {own}, and this run takes everything from a bundle for debian-11" in str(errors["here"])


def test_those_that_could_not_be_planned_for_keep_nobody() -> None:
    locked = HostOutcome("b", error=LockedError("ada has been at work on this box"))
    before = HostOutcome("c", error=BoxwrightError("narrow"))
    rest, refused = without_failed(target("a", "b"), [HostOutcome("a"), locked], [before])
    assert [host.name for host in rest.fleet.hosts] == ["a"]
    assert refused == [before, locked]


def test_only_what_the_stack_would_fail_on_refuses() -> None:
    assert refusal("8x4090", "box", (FITS, POOR)) is None
    error = refusal("8x4090", "box", (FITS, NARROW, POOR, SEVEN))
    assert error is not None
    assert error.message == (
        "this machine is not a 8x4090: pcie.width: found x8, wanted x16; accelerators.count: found 7, wanted 8"
    )
    assert error.where == "box"
    assert error.hint.splitlines() == [
        "Reseat the card.",
        "Or set the check aside under `waivers` of the site, with your name and a reason.",
    ]


def test_the_others_go_on_without_those_that_are_refused_or_could_not_be_read() -> None:
    unread = BoxwrightError("the probe's answer cannot be read")
    examination = Examination(
        contracts={"good": (FITS, POOR), "narrow": (NARROW,)},
        failures={"odd": unread},
    )
    rest, outcomes = split(target("good", "narrow", "odd", "gone"), examination)
    assert [host.name for host in rest.fleet.hosts] == ["good", "gone"]
    errors = {outcome.host: outcome.error for outcome in outcomes}
    assert set(errors) == {"narrow", "odd"}
    assert errors["odd"] is unread
    assert "pcie.width" in str(errors["narrow"])


def test_a_host_that_is_out_of_reach_is_no_host_that_was_refused() -> None:
    rest, outcomes = split(target("gone"), Examination(contracts={}, failures={}))
    assert [host.name for host in rest.fleet.hosts] == ["gone"]
    assert outcomes == []


def test_no_half_of_a_box_is_taken_further() -> None:
    whole = target("a-1", "a-2", "b-1", "b-2", profile="2x8xh20")
    examination = Examination(contracts={"a-1": (FITS,), "a-2": (NARROW,)}, failures={})
    rest, outcomes = split(whole, examination)
    assert [host.name for host in rest.fleet.hosts] == ["b-1", "b-2"]
    errors = {outcome.host: str(outcome.error) for outcome in outcomes}
    assert "pcie.width" in errors["a-2"]
    assert "half a box serves nobody" in errors["a-1"]


def test_a_box_of_several_machines_is_refused_when_one_of_them_does_not_answer() -> None:
    whole = target("a-1", "a-2", "b-1", "b-2", profile="2x8xh20")
    gone = UnreachableError("ssh did not get in", where="a-2")
    rest, outcomes = split(whole, Examination(contracts={"a-1": (FITS,)}, failures={}, unreachable={"a-2": gone}))
    assert [host.name for host in rest.fleet.hosts] == ["b-1", "b-2"]
    errors = {outcome.host: outcome.error for outcome in outcomes}
    assert errors["a-2"] is gone
    assert "together with a-2, which was taken no further" in str(errors["a-1"])
