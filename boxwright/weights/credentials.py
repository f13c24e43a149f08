"""What hubs of models are told by whoever has a token of theirs. Pure."""

from __future__ import annotations


def hub_headers(
    *, huggingface: str, huggingface_token: str | None, modelscope: str, modelscope_token: str | None
) -> dict[str, dict[str, str]]:
    """Headers by address of a hub, as the fetcher of models takes them.

    By the whole address, path and all: two hubs may stand behind one mirror, and neither is told the other's token.

    Args:
        huggingface: Address of Hugging Face, or of its mirror.
        huggingface_token: Its token; None: it is told nothing.
        modelscope: Address of ModelScope, or of its mirror.
        modelscope_token: Its token.
    """
    found: dict[str, dict[str, str]] = {}
    if huggingface_token:
        found[huggingface] = {"Authorization": f"Bearer {huggingface_token}"}
    if modelscope_token:
        found.setdefault(modelscope, {})["Cookie"] = f"m_session_id={modelscope_token}"
    return found
