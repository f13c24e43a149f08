"""Services beside the main one: each answers through the gateway, to users alone, and is guarded as the main one is."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from boxwright.verification.gateway import Gateway
from boxwright.verification.guarding import kept_from_people, wants_its_key
from boxwright.verification.job import VerifyHost, VerifyService
from boxwright.verification.plugin import Evidence
from boxwright.verification.questions import ask

pytestmark = pytest.mark.usefixtures("stack")

CLOSED_PATHS = ("/metrics", "/health", "/slots", "/props", "/v1/whatever", "/api/delete", "/v1/%2e%2e/props")


def place(service: VerifyService, path: str) -> str:
    return f"/services/{service.name}{path}"


@pytest.mark.check(
    id="further.answers",
    title="Every service beside the main one answers with its own model, and the answer makes sense",
    severity="critical",
    remedy="On the box: the journal of its unit, which services.active names. Then provision again.",
    needs="further",
)
def test_each_answers(gateway: Gateway, target: VerifyHost, evidence: Evidence) -> None:
    for service in target.further:
        answer = gateway.request("GET", place(service, "/v1/models"), authorization=gateway.bearer)
        assert answer.status_code == 200, f"{service.name} answered {answer.status_code}"
        models = [model["id"] for model in answer.json()["data"]]
        assert service.model_alias in models, f"{service.name} offers {models}, not {service.model_alias}"
        evidence(f"{service.name}: {_asked(gateway, service)}")


def _asked(gateway: Gateway, service: VerifyService) -> str:
    if service.purpose == "chat":
        chat = ask(gateway, place(service, "/v1/chat/completions"), service.model_alias, gateway.bearer)
        assert chat.is_right, f"{service.name}: the capital of France is said to be {chat.text[:120]!r}"
        return repr(chat.text.strip()[:120])
    if service.purpose == "completion":
        body = {"model": service.model_alias, "prompt": "Once upon a time", "max_tokens": 16}
        path = place(service, "/v1/completions")
        answer = gateway.request("POST", path, authorization=gateway.bearer, body=body)
        assert answer.status_code == 200, f"{path} answered {answer.status_code}: {answer.text[:200]}"
        return repr(answer.json()["choices"][0]["text"].strip()[:120])
    near, far = _likeness(gateway, service)
    assert near > far, f"{service.name}: a paraphrase is no nearer ({near:.2f}) than another subject ({far:.2f})"
    return f"a paraphrase is nearer ({near:.2f}) than another subject ({far:.2f})"


def _likeness(gateway: Gateway, service: VerifyService) -> tuple[float, float]:
    """How near vectors are to the first: of the same thing in other words, and of another thing."""
    path = place(service, "/v1/embeddings")
    sentences = ["The cat sleeps on the sofa.", "A cat is sleeping on a couch.", "Interest rates rose by two percent."]
    answer = gateway.request(
        "POST", path, authorization=gateway.bearer, body={"model": service.model_alias, "input": sentences}
    )
    assert answer.status_code == 200, f"{path} answered {answer.status_code}: {answer.text[:200]}"
    first, near, far = (one["embedding"] for one in sorted(answer.json()["data"], key=lambda one: one["index"]))
    return _cosine(first, near), _cosine(first, far)


def _cosine(one: list[float], other: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    lengths = sum(a * a for a in one) * sum(b * b for b in other)
    return float(product / lengths**0.5) if lengths else 0.0


@pytest.mark.check(
    id="further.users",
    title="Services beside the main one answer to users alone, and on the paths of the API alone",
    severity="critical",
    remedy="Provision again: the role gateway lets through the paths of gateway.api_paths and no other.",
    needs="further",
)
def test_each_is_for_users(gateway: Gateway, target: VerifyHost, evidence: Evidence) -> None:
    for service in target.further:
        for authorization in (None, "Bearer not-the-key-of-anybody", gateway.basic_of("not the password")):
            status = gateway.request("GET", place(service, "/v1/models"), authorization=authorization).status_code
            assert status == 401, f"{service.name} answered {status} to a stranger"
        for path in CLOSED_PATHS:
            status = gateway.request("GET", place(service, path), authorization=gateway.bearer).status_code
            assert status == 404, f"{place(service, path)} with a valid key answered {status}"
    status = gateway.request("GET", "/services/nobody/v1/models", authorization=gateway.bearer).status_code
    assert status == 404, f"a service that there is not answered {status}"
    evidence(f"401 to strangers, 404 for {', '.join(CLOSED_PATHS)} of {', '.join(one.name for one in target.further)}")


@pytest.mark.check(
    id="further.guarded",
    title="Services beside the main one are guarded on the box itself, too",
    severity="major",
    remedy="Provision again: the deploy of the engine gives it a key, or loads the rules that guard it.",
    needs="further",
)
def test_each_is_guarded(host: Host, target: VerifyHost, evidence: Evidence) -> None:
    for service in target.further:
        guarded = wants_its_key if service.keyed else kept_from_people
        evidence(f"{service.name}: {guarded(host, service.engine_url)}")
