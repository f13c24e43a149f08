"""A model by transformers: loaded once, and asked one thing after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer
from transformers.utils.quantization_config import GgufConfig


class Model:
    """A model that can be asked.

    Args:
        place: The folder of safetensors, or a GGUF file, which is unquantized as it is loaded.
        cards: Whether it computes on the cards that this process sees.
        threads: Of the processor.
        chat: Whether it was taught to answer; another one goes on with the text.
    """

    def __init__(self, place: str, *, cards: bool, threads: int, chat: bool) -> None:
        began = time.monotonic()
        torch.set_num_threads(threads)
        self._chat, self._cards, self._alone = chat, cards, threading.Lock()
        path = Path(place)
        source: dict[str, Any] = {"pretrained_model_name_or_path": place}
        settings: dict[str, Any] = {"dtype": torch.bfloat16, "device_map": "auto" if cards else "cpu"}
        if path.suffix == ".gguf":
            source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
            settings["quantization_config"] = GgufConfig(dequantize=True)
        self._tokenizer = AutoTokenizer.from_pretrained(**source)
        self._model = AutoModelForCausalLM.from_pretrained(**source, **settings).eval()
        self.loaded = {
            "seconds": time.monotonic() - began,
            "parameters": sum(one.numel() for one in self._model.parameters()),
            "number_format": str(self._model.dtype).removeprefix("torch."),
            "devices": sorted({str(one.device) for one in self._model.parameters()}),
            "cards": [torch.cuda.get_device_name(card) for card in range(torch.cuda.device_count())] if cards else [],
            "threads": threads,
        }

    def answer(self, prompt: str, most_tokens: int) -> dict[str, Any]:
        """What it says, how many tokens that was, and how long it took."""
        began = time.monotonic()
        inputs = self._inputs([{"role": "user", "content": prompt}])
        with torch.inference_mode():
            output = self._model.generate(**inputs, max_new_tokens=most_tokens, do_sample=False)
        new = output[0][inputs["input_ids"].shape[1] :]
        return {
            "answer": self._tokenizer.decode(new, skip_special_tokens=True).strip(),
            "tokens": len(new),
            "seconds": time.monotonic() - began,
        }

    def stream(self, messages: list[dict[str, str]], most_tokens: int) -> Iterator[str]:
        """The answer as it grows. One is given at a time."""
        with self._alone:
            streamer = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
            asked = {**self._inputs(messages), "max_new_tokens": most_tokens, "streamer": streamer, "do_sample": False}
            worker = threading.Thread(target=self._generate, args=(asked, streamer), daemon=True)
            worker.start()
            text = ""
            for piece in streamer:
                text += piece
                yield text
            worker.join()

    def memory(self) -> dict[str, int]:
        """The most that it has taken so far, in bytes: of main memory, and of cards."""
        lines = Path("/proc/self/status").read_text().splitlines()
        (most,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
        cards = range(torch.cuda.device_count()) if self._cards else ()
        return {"bytes": most, "card_bytes": sum(torch.cuda.max_memory_reserved(card) for card in cards)}

    def _generate(self, asked: dict[str, Any], streamer: TextIteratorStreamer) -> None:
        try:
            with torch.inference_mode():
                self._model.generate(**asked)
        finally:
            streamer.end()  # else who reads it would wait for ever

    def _inputs(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        if self._chat and self._tokenizer.chat_template:
            inputs = self._tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
        else:
            inputs = self._tokenizer("\n".join(one["content"] for one in messages), return_tensors="pt")
        first = next(self._model.parameters()).device
        return {name: tensor.to(first) for name, tensor in inputs.items() if name in ("input_ids", "attention_mask")}
