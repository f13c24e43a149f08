"""First requests to a box, ready to be pasted. A key or a password stands in none of them."""

from __future__ import annotations

import shlex
from json import dumps

from boxwright.handover.facts import BoxFacts, Offer
from boxwright.model.base import bracketed

KEY_VARIABLE = "BOXWRIGHT_API_KEY"
AUTHORITY_FILE = "boxwright-ca.crt"
# Into a variable of the shell without an echo: bash and zsh read so.
ASK_FOR_KEY = f"read -rs {KEY_VARIABLE} && export {KEY_VARIABLE}"


def curl_by_password(box: BoxFacts, authority: str) -> tuple[str, ...]:
    """The command of a first streamed request; curl asks for the password. In parts that each fit a line.

    Args:
        box: The box.
        authority: The file with the certificate that signs the box's; empty where clients know it.
    """
    parts = ["curl --no-buffer", *_trust(authority)]
    if box.address:
        parts.append(f"--connect-to {shlex.quote(f'::{bracketed(box.address)}:')}")
    path, body = _request(box.main, stream=True)
    return (
        *parts,
        f"--user {shlex.quote(box.api_user)}",
        "--header 'Content-Type: application/json'",
        f"--data {shlex.quote(dumps(body))}",
        shlex.quote(f"{_base(box.main)}{path}"),
    )


def curl_models(box: BoxFacts, offer: Offer) -> str:
    """The command that lists what a service serves."""
    return _by_key([*_trust(_authority_file(box)), shlex.quote(f"{_base(offer)}/models")])


def curl_request(box: BoxFacts, offer: Offer) -> str:
    """The command of a first request to a service: a streamed answer, or the vector of a sentence."""
    path, body = _request(offer, stream=offer.purpose != "embedding")
    return _by_key(
        [
            "--no-buffer",
            *_trust(_authority_file(box)),
            "--header 'Content-Type: application/json'",
            f"--data {shlex.quote(dumps(body))}",
            shlex.quote(f"{_base(offer)}{path}"),
        ]
    )


def python_request(box: BoxFacts, offer: Offer) -> str:
    """A first request by OpenAI's own client for Python, as a whole program."""
    authority = _authority_file(box)
    return f"""\
import os
import ssl

from openai import DefaultHttpxClient, OpenAI

trust = ssl.create_default_context({f"cafile={dumps(authority)}" if authority else ""})
client = OpenAI(
    base_url={dumps(_base(offer))},
    api_key=os.environ[{dumps(KEY_VARIABLE)}],
    http_client=DefaultHttpxClient(verify=trust),
)
{_python_use(offer)}"""


def chatbox_provider(box: BoxFacts, offer: Offer) -> str:
    """The box as a provider that Chatbox 1.15.1 and newer imports from the clipboard, without the key."""
    host = _base(offer).removesuffix("/v1")
    name = f"{box.host} {offer.name}".strip()
    return dumps(
        {
            "id": f"boxwright-{name.replace(' ', '-')}",
            "name": name,
            "type": "openai",
            "urls": {"website": box.chat_url or host},
            "settings": {
                "apiHost": host,
                "apiPath": "/v1/chat/completions",
                "models": [
                    {
                        "modelId": offer.model,
                        "nickname": offer.title or offer.model,
                        "type": "chat",
                        **({"capabilities": ["reasoning"]} if offer.thinks else {}),
                        **({"contextWindow": offer.context_tokens} if offer.context_tokens else {}),
                    }
                ],
            },
        },
        indent=2,
        ensure_ascii=False,
    )


def _python_use(offer: Offer) -> str:
    model = dumps(offer.model)
    if offer.purpose == "embedding":
        return f"""\
answer = client.embeddings.create(model={model}, input=["Hello"])
print(len(answer.data[0].embedding))"""
    if offer.purpose == "completion":
        return f"""\
answer = client.completions.create(model={model}, prompt="Hello", max_tokens=64)
print(answer.choices[0].text)"""
    temperature = f"\n    temperature={offer.temperature:g}," if offer.temperature is not None else ""
    return f"""\
stream = client.chat.completions.create(
    model={model},
    messages=[{{"role": "user", "content": "Hello"}}],{temperature}
    stream=True,
)
for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
print()"""


def _request(offer: Offer, *, stream: bool) -> tuple[str, dict[str, object]]:
    """Path below `/v1` and body of a first request."""
    if offer.purpose == "embedding":
        return "/embeddings", {"model": offer.model, "input": ["Hello"]}
    if offer.purpose == "completion":
        return "/completions", {"model": offer.model, "stream": stream, "prompt": "Hello", "max_tokens": 64}
    messages = [{"role": "user", "content": "Hello"}]
    return "/chat/completions", {"model": offer.model, "stream": stream, "messages": messages}


def _by_key(parts: list[str]) -> str:
    # The shell's own printf: the key is in no process's arguments, where others on the machine could read it.
    header = f"""printf 'header = "Authorization: Bearer %s"\\n' "${KEY_VARIABLE}" |"""
    return " \\\n  ".join([f"{header}\n  curl --config -", *parts])


def _trust(authority: str) -> list[str]:
    return [f"--cacert {shlex.quote(authority)}"] if authority else []


def _authority_file(box: BoxFacts) -> str:
    return AUTHORITY_FILE if box.authority_url else ""


def _base(offer: Offer) -> str:
    return offer.api_url.rstrip("/")
