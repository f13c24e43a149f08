"""A model that stands in no catalogue: its shape and size by the header of its GGUF.

The header alone is read. The `gguf` package makes an array of every word of the vocabulary, which takes it seconds,
and needs numpy.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from boxwright.errors import BadInputError
from boxwright.model.architecture import Architecture, Experts, HeadAttention, LatentAttention
from boxwright.model.catalogue import Build, Model
from boxwright.sizing.names import identifier
from boxwright.sizing.shape import shape_of

_VERSIONS = (2, 3)
_TEXT, _ARRAY = 8, 9
# GGUF's types of numbers, by its specification: how `struct` reads each.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# Beyond these a length is none that a model has, but what a broken file says.
_LONGEST_TEXT, _LONGEST_ARRAY, _MOST_ENTRIES = 1 << 24, 1 << 22, 1 << 20
_MOST_DIMENSIONS = 8  # ggml has four
_KEPT = 4096  # items of an array that are kept; of longer ones, vocabularies, their number is
# llama.cpp's numbers of what most tensors of a file are (llama_ftype).
_FILE_TYPES = {
    0: "FP32", 1: "FP16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
    28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip
_SHARD = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")


@dataclass(frozen=True)
class Header:
    """What a GGUF says of itself.

    Attributes:
        values: By key; of long arrays, how many items they have.
        tensors: Names of the weights in this file.
    """

    values: dict[str, Any]
    tensors: frozenset[str]


def gguf_model_of(path: Path) -> Model:
    """The model of a GGUF: of one file, or of all shards if it is the first of them.

    Raises:
        BadInputError: It cannot be read, is none, lacks shards, or does not say what is needed.
    """
    header = read_header(path)
    shards = _shards(path, header)
    values, kind = _Values(path, header.values), str(header.values.get("general.architecture", ""))
    try:
        architecture = _architecture(values, kind, header, path)
        return Model(
            id=identifier(_SHARD.sub(r"\g<stem>", path.name).removesuffix(".gguf")),
            title=str(header.values.get("general.name") or path.name),
            license="not known",
            parameters=shape_of(architecture).parameters,
            context_length=values.number(f"{kind}.context_length"),
            architecture=architecture,
            builds=(
                Build(
                    name="local",
                    format="gguf",
                    quantization=_FILE_TYPES.get(header.values.get("general.file_type", -1), "GGUF"),
                    bytes=sum(shard.stat().st_size for shard in shards),
                    source=f"the files beside {path}" if len(shards) > 1 else str(path),
                ),
            ),
        )
    except ValidationError as error:
        raise BadInputError(f"{path}: {error.errors()[0]['msg']}") from None


def read_header(path: Path) -> Header:
    """Read keys, values and the names of tensors.

    Raises:
        BadInputError: It cannot be read, or is no GGUF.
    """
    try:
        with path.open("rb") as file:
            return _Reader(file).header()
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror}") from None
    except (ValueError, struct.error, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: no GGUF: {error}", hint="A file that was cut off is fetched anew.") from None


class _Reader:
    """Goes through a file from its beginning. Numbers are little-endian."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def header(self) -> Header:
        if self._bytes(4) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version, tensors, keys = self._number("I"), self._number("Q"), self._number("Q")
        if version not in _VERSIONS:
            raise ValueError(f"version {version} is not known")
        if max(tensors, keys) > _MOST_ENTRIES:
            raise ValueError(f"{max(tensors, keys)} entries")
        values = dict(self._entry() for _ in range(keys))
        return Header(values, frozenset(self._tensors(tensors)))

    def _bytes(self, count: int) -> bytes:
        found = self._file.read(count)
        if len(found) < count:
            raise ValueError("it ends within its header")
        return found

    def _number(self, letter: str) -> Any:
        return struct.unpack(f"<{letter}", self._bytes(struct.calcsize(letter)))[0]

    def _text(self) -> str:
        return self._text_bytes().decode("utf-8", errors="replace")

    def _text_bytes(self) -> bytes:
        length = self._number("Q")
        if length > _LONGEST_TEXT:
            raise ValueError(f"a text of {length} bytes")
        return self._bytes(length)

    def _entry(self) -> tuple[str, Any]:
        return self._text(), self._value(self._number("I"))

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind == _ARRAY:
            return self._array()
        if kind not in _NUMBERS:
            raise ValueError(f"a value of type {kind}")
        return self._number(_NUMBERS[kind])

    def _array(self) -> Any:
        kind, count = self._number("I"), self._number("Q")
        if count > _LONGEST_ARRAY:
            raise ValueError(f"an array of {count} items")
        if kind in _NUMBERS:
            raw = self._bytes(count * struct.calcsize(_NUMBERS[kind]))
            return struct.unpack(f"<{count}{_NUMBERS[kind]}", raw) if count <= _KEPT else count
        if kind != _TEXT:
            raise ValueError(f"an array of type {kind}")
        for _ in range(count):
            self._text_bytes()
        return count

    def _tensors(self, count: int) -> Iterator[str]:
        for _ in range(count):
            yield self._text()
            dimensions = self._number("I")
            if dimensions > _MOST_DIMENSIONS:
                raise ValueError(f"a tensor of {dimensions} dimensions")
            self._bytes(8 * dimensions + 12)  # sizes, type and place


def _shards(path: Path, header: Header) -> list[Path]:
    """All files of the model."""
    count = int(header.values.get("split.count", 0))
    shard = _SHARD.match(path.name)
    if count <= 1 or shard is None:
        return [path]
    if int(shard["number"]) != 1:
        raise BadInputError(f"{path}: a shard that is not the first", hint=f"Name {shard['stem']}-00001-of-… .")
    paths = [path.with_name(f"{shard['stem']}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]
    missing = [one.name for one in paths if not one.is_file()]
    if missing:
        raise BadInputError(f"{path}: {len(missing)} of {count} shards are not there: {missing[0]}")
    return paths


@dataclass(frozen=True)
class _Values:
    path: Path
    values: dict[str, Any]

    def number(self, key: str, default: int | None = None) -> int:
        """A whole number; of one for each layer, the largest."""
        found = self.values.get(key, default)
        if isinstance(found, tuple) and found:
            found = max(found)
        if not isinstance(found, int) or isinstance(found, bool):
            raise BadInputError(f"{self.path}: it does not say {key}")
        return found


def _architecture(values: _Values, kind: str, header: Header, path: Path) -> Architecture:
    vocabulary = header.values.get("tokenizer.ggml.tokens") or values.number(f"{kind}.vocab_size")
    count = values.number(f"{kind}.expert_count", 0)
    experts = (
        Experts(
            count=count,
            active=values.number(f"{kind}.expert_used_count"),
            shared=values.number(f"{kind}.expert_shared_count", 0),
            feed_forward_size=values.number(
                f"{kind}.expert_feed_forward_length", values.number(f"{kind}.feed_forward_length", 0)
            ),
            dense_layers=values.number(f"{kind}.leading_dense_block_count", 0),
        )
        if count
        else None
    )
    return Architecture(
        kind=kind,
        layers=values.number(f"{kind}.block_count"),
        hidden_size=values.number(f"{kind}.embedding_length"),
        feed_forward_size=values.number(
            f"{kind}.feed_forward_length", values.number(f"{kind}.expert_feed_forward_length", 0)
        ),
        attention=_attention(values, kind),
        experts=experts,
        vocabulary=vocabulary if isinstance(vocabulary, int) else len(vocabulary),
        tied_embeddings="output.weight" not in header.tensors and "split.count" not in header.values,
        native_dtype="bfloat16",
        source=str(path),
    )


def _attention(values: _Values, kind: str) -> HeadAttention | LatentAttention:
    heads = values.number(f"{kind}.attention.head_count")
    if f"{kind}.attention.kv_lora_rank" in values.values:
        position = values.number(f"{kind}.rope.dimension_count")
        # Files since 2025 say the sizes of heads apart from those of the compressed cache.
        key = values.number(f"{kind}.attention.key_length_mla", values.number(f"{kind}.attention.key_length", 0))
        value = values.number(f"{kind}.attention.value_length_mla", values.number(f"{kind}.attention.value_length", 0))
        return LatentAttention(
            kind="mla",
            heads=heads,
            kv_rank=values.number(f"{kind}.attention.kv_lora_rank"),
            q_rank=values.number(f"{kind}.attention.q_lora_rank", values.number(f"{kind}.embedding_length")),
            rope_head_dim=position,
            nope_head_dim=key - position,
            value_head_dim=value,
        )
    kv_heads = values.number(f"{kind}.attention.head_count_kv", heads)
    return HeadAttention(
        kind="mha" if kv_heads == heads else "gqa",
        heads=heads,
        kv_heads=kv_heads,
        head_dim=values.number(f"{kind}.attention.key_length", values.number(f"{kind}.embedding_length") // heads),
    )
