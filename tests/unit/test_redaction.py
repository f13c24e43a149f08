from __future__ import annotations

import io
import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.redaction import REDACTED, RedactingStream, Redactor


@pytest.mark.parametrize(
    "key", ["api_key", "admin_password", "x_secret", "hf_token", "htpasswd_hash", "password", "API_KEY"]
)
def test_values_under_secret_keys_are_replaced_at_any_depth(key: str) -> None:
    redact = Redactor([{"a": [{"b": {key: "s3cr3t-value"}}]}, {key: {"inner": ["another-one"]}}])
    assert redact("x s3cr3t-value y another-one z") == "x [REDACTED] y [REDACTED] z"


def test_other_and_short_values_stay() -> None:
    redact = Redactor([{"monkey": "banana-split", "api_key": "short", "keyboard": "qwertyuiop", "n_key": 1234567}])
    text = "banana-split short qwertyuiop 1234567"
    assert redact(text) == text


def test_the_longest_secret_wins() -> None:
    redact = Redactor([{"a_key": "abcdef", "b_key": "abcdefghij"}])
    assert redact("abcdefghij abcdef") == "[REDACTED] [REDACTED]"


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=6, max_size=30).filter(lambda s: len(s.strip()) >= 6))
def test_quoted_spellings_are_replaced_too(secret: str) -> None:
    redact = Redactor([{"api_key": secret}])
    for spelled in (secret, json.dumps(secret), shlex.quote(secret)):
        body = spelled.strip("\"'")
        if len(body) >= 6:
            assert body not in redact(f"<{spelled}>").replace(REDACTED, "")


def test_a_stream_redacts_secrets_written_in_pieces() -> None:
    sink = io.StringIO()
    stream = RedactingStream(sink, Redactor([{"api_key": "hunter2hunter2"}]))
    for piece in ("a hunter", "2hun", "ter2 b\nlast hunter2hun", "ter2"):
        stream.write(piece)
    stream.finish()
    assert sink.getvalue() == "a [REDACTED] b\nlast [REDACTED]"
