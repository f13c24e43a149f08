"""Load a model, let it answer, and serve a small page of it until standard input ends.

Usage: PYTHON -I -B try-model.d

The first line of standard input is the order, as JSON: `model` (a folder, or a GGUF file), `cards` (whether it computes
on them), `threads`, `prompts`, `chat` (whether it was taught to answer), `most_tokens`, `page` (the socket to serve at,
or null) and `seconds` (how long). Each line of standard output is JSON: `loaded`, one `answer` for each prompt,
`memory`, and `page` when it serves. When standard input ends, nobody watches any more, and this ends, too.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TQDM_DISABLE": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def tell(kind: str, **said: Any) -> None:
    """One line for who watches."""
    sys.stdout.write(json.dumps({kind: said}, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def end_with_the_watcher() -> None:
    """End the program when standard input does: the connection is closed, whoever closed it."""
    while os.read(0, 4096):  # past Python's own buffer, whose lock would be missed at the end of the program
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Do what the order says."""
    os.umask(0o077)
    os.environ |= OFFLINE
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=end_with_the_watcher, daemon=True).start()
    from model import Model  # noqa: PLC0415 - beside this file; torch reads the environment when it is imported

    model = Model(order["model"], cards=order["cards"], threads=order["threads"], chat=order["chat"])
    tell("loaded", **model.loaded)
    for prompt in order["prompts"]:
        tell("answer", prompt=prompt, **model.answer(prompt, order["most_tokens"]))
    tell("memory", **model.memory())
    if order["page"]:
        from page import serve  # noqa: PLC0415 - only where a page is wanted

        serve(model, order["page"], order["most_tokens"], order["seconds"], lambda: tell("page"))


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - -I leaves it out
    main()
