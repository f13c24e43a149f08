"""Each hub is told its own token, wherever it stands."""

from __future__ import annotations

from boxwright.weights.credentials import hub_headers


def test_hubs_behind_one_mirror_are_told_their_own_tokens_each() -> None:
    found = hub_headers(
        huggingface="https://mirror.example/hf",
        huggingface_token="one",
        modelscope="https://mirror.example/ms",
        modelscope_token="two",
    )
    assert found == {
        "https://mirror.example/hf": {"Authorization": "Bearer one"},
        "https://mirror.example/ms": {"Cookie": "m_session_id=two"},
    }


def test_who_has_no_token_tells_none() -> None:
    hubs = {"huggingface": "https://hf.example", "modelscope": "https://ms.example"}
    assert hub_headers(**hubs, huggingface_token=None, modelscope_token=None) == {}
    assert list(hub_headers(**hubs, huggingface_token=None, modelscope_token="two")) == ["https://ms.example"]
