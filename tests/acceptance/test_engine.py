"""The engine, through the gateway: it has the promised model, it answers, and its answer flows."""

from __future__ import annotations

from itertools import pairwise

import pytest
from testinfra.host import Host

from boxwright.places import ROOT
from boxwright.verification.gateway import Gateway
from boxwright.verification.guarding import kept_from_people, wants_its_key
from boxwright.verification.job import VerifyHost
from boxwright.verification.judgements import evidence_of
from boxwright.verification.plugin import Evidence
from boxwright.verification.questions import ask, question
from boxwright.verification.ssh import BoxShell

pytestmark = pytest.mark.usefixtures("stack")

# The one that the deploys ask when an engine has started. The box's own copy is not relied on.
MEMORY_PLACEMENT = ROOT / "templates/engine_unit/memory_placement.py"
CHAT = "/v1/chat/completions"
# A proxy that holds an answer back lets many pieces go at once, all together or a buffer at a time.
APART_S = 0.001
MOST_PIECES_AT_ONCE = 8
# A short answer first: a machine that gives half a token a second has 120 s for it. A busy machine here may read many
# pieces of one that is over in a moment at once, of a longer one, too: with four processes that ask for all of two
# processors, 8 of some 50 such answers. A proxy that holds answers back does so each time.
STREAMED = (40, 160, 160, 160)
_REFUSED = 7  # of curl: nobody listens there


def assert_that_it_runs(host: Host, target: VerifyHost) -> None:
    """For checks that would blame something else: an engine that does not run, or still starts, is said to."""
    unit = target.main_unit
    asking = "systemctl show --property=ActiveState,SubState,NRestarts %s"
    told = dict(line.partition("=")[::2] for line in host.check_output(asking, unit).splitlines())
    state = f"{told['ActiveState']} ({told['SubState']}, restarted {told['NRestarts'] or 0} times)"
    assert told["ActiveState"] == "active", f"the engine does not run: {unit} is {state}"
    if not target.leads:  # it lends its part of the machine, and has no door of its own
        return
    url = f"{target.engine_url.rstrip('/')}/v1/models"
    listening = host.run("curl --silent --noproxy '*' --max-time 10 --output /dev/null %s", url).rc
    assert listening != _REFUSED, f"the engine runs and does not listen at {target.engine_url} yet: {unit} is {state}"


@pytest.mark.check(
    id="engine.model",
    title="The API offers the promised model",
    severity="critical",
    remedy="On the box: journalctl -n 50 -u with the engine's unit, which services.active names. Then provision again.",
    needs="leads",
)
def test_model_is_offered(host: Host, gateway: Gateway, target: VerifyHost, evidence: Evidence) -> None:
    assert_that_it_runs(host, target)
    answer = gateway.request("GET", "/v1/models", authorization=gateway.bearer)
    models = [model["id"] for model in answer.json()["data"]]
    assert target.model_alias in models, f"offers {models}, not {target.model_alias}"
    evidence(f"/v1/models lists {', '.join(models)}")


@pytest.mark.check(
    id="engine.guarded",
    title="The engine is guarded on the box itself, too: by its key, or from people's accounts where it knows no keys",
    severity="major",
    remedy="Provision again: the deploy of the engine gives it a key, or loads the rules that guard it.",
    needs="leads",
)
def test_engine_wants_its_key(host: Host, target: VerifyHost, evidence: Evidence) -> None:
    assert_that_it_runs(host, target)
    guarded = wants_its_key if target.profile.stack.knows_keys else kept_from_people
    evidence(guarded(host, target.engine_url))


@pytest.mark.check(
    id="engine.chat_by_password",
    title="A chat by the API's password is answered, and the answer makes sense",
    severity="critical",
    remedy="On the box: the journal of the engine's unit, and /var/log/nginx/. Then provision again.",
    needs="leads",
)
def test_chat_by_password(gateway: Gateway, target: VerifyHost, evidence: Evidence) -> None:
    answer = ask(gateway, CHAT, target.model_alias, gateway.basic)
    assert answer.is_right, f"the capital of France is said to be {answer.text[:120]!r}"
    assert answer.usage.get("completion_tokens", 0) > 0, f"no count of tokens in the answer: {answer.usage}"
    evidence(f"{answer.text.strip()[:120]!r}, {answer.usage['completion_tokens']} tokens")


@pytest.mark.check(
    id="engine.chat_by_key",
    title="A chat by the API's key is answered, and the answer makes sense",
    severity="critical",
    remedy="On the box: the journal of the engine's unit, and /var/log/nginx/. Then provision again.",
    needs="leads",
)
def test_chat_by_key(gateway: Gateway, target: VerifyHost, evidence: Evidence) -> None:
    answer = ask(gateway, CHAT, target.model_alias, gateway.bearer)
    assert answer.is_right, f"the capital of France is said to be {answer.text[:120]!r}"
    evidence(f"{answer.text.strip()[:120]!r}")


@pytest.mark.check(
    id="engine.stream",
    title="A streamed answer comes word by word, with the count of its tokens at the end",
    severity="major",
    remedy="Something holds answers back: proxy_buffering must be off in the gateway.",
    needs="leads",
)
def test_answers_stream(gateway: Gateway, target: VerifyHost, evidence: Evidence) -> None:
    for tokens in STREAMED:
        story = {
            **question(target.model_alias),
            "messages": [{"role": "user", "content": "Tell me a story about a lighthouse."}],
            "max_tokens": tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        stream = gateway.stream(CHAT, authorization=gateway.bearer, body=story)
        assert stream.status == 200, f"answered {stream.status}"
        pieces = len(stream.arrivals)
        assert pieces >= 2, f"came in {pieces} pieces"
        bursts = 1 + sum(later - earlier >= APART_S for earlier, later in pairwise(stream.arrivals))
        steadily = bursts >= max(2, pieces / MOST_PIECES_AT_ONCE)
        if steadily:
            break
    assert steadily, f"{pieces} pieces came in {bursts} bursts: something holds answers back"
    spread = stream.arrivals[-1] - stream.arrivals[0]
    told = stream.usage.get("completion_tokens", 0)
    assert told > 0, "the stream ended without a count of its tokens"
    evidence(
        f"{pieces} pieces at {bursts} times over {spread:.2f} s, "
        f"the first after {stream.arrivals[0]:.2f} s; {told} tokens"
    )


@pytest.mark.check(
    id="engine.numa",
    title="The engine's memory lies, and its threads run, on the NUMA nodes that the profile says",
    severity="major",
    remedy="On the box: numastat -p with the engine's process; provision again, and restart it when memory was short.",
)
def test_numa_placement(host: Host, target: VerifyHost, shell: BoxShell, evidence: Evidence) -> None:
    assert_that_it_runs(host, target)
    asked = [one.model_dump(mode="json") for one in target.placements]
    evidence(evidence_of(shell.python(MEMORY_PLACEMENT.read_text(), asked)))
