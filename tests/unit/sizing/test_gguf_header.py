"""Models by the headers of their GGUFs, which are written here byte by byte as the format's specification says."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.errors import BadInputError
from boxwright.model.architecture import Experts, HeadAttention, LatentAttention
from boxwright.model.catalogues import load_models
from boxwright.sizing.choice import models_meant
from boxwright.sizing.gguf_header import gguf_model_of, read_header

QWEN = {
    "general.architecture": "qwen2",
    "general.name": "Some Model",
    "general.file_type": 15,
    "qwen2.block_count": 28,
    "qwen2.context_length": 131072,
    "qwen2.embedding_length": 3584,
    "qwen2.feed_forward_length": 18944,
    "qwen2.attention.head_count": 28,
    "qwen2.attention.head_count_kv": 4,
    "tokenizer.ggml.scores": [0.5] * 8,
    "tokenizer.ggml.tokens": ["word"] * 152064,
}
R1 = {
    "general.architecture": "deepseek2",
    "deepseek2.block_count": 61,
    "deepseek2.context_length": 163840,
    "deepseek2.embedding_length": 7168,
    "deepseek2.feed_forward_length": 18432,
    "deepseek2.attention.head_count": 128,
    "deepseek2.attention.q_lora_rank": 1536,
    "deepseek2.attention.kv_lora_rank": 512,
    "deepseek2.rope.dimension_count": 64,
    "deepseek2.expert_count": 256,
    "deepseek2.expert_used_count": 8,
    "deepseek2.expert_shared_count": 1,
    "deepseek2.expert_feed_forward_length": 2048,
    "deepseek2.leading_dense_block_count": 3,
    "deepseek2.vocab_size": 129280,
}
EARLY = {"deepseek2.attention.key_length": 192, "deepseek2.attention.value_length": 128}
LATER = {
    "deepseek2.attention.head_count_kv": 1,
    "deepseek2.attention.key_length": 576,
    "deepseek2.attention.value_length": 512,
    "deepseek2.attention.key_length_mla": 192,
    "deepseek2.attention.value_length_mla": 128,
}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(said: Any) -> bytes:
    if isinstance(said, str):
        return struct.pack("<I", 8) + text(said)
    if isinstance(said, float):
        return struct.pack("<If", 6, said)
    if isinstance(said, int):
        return struct.pack("<II", 4, said)
    kind, items = (
        (8, b"".join(map(text, said))) if isinstance(said[0], str) else (6, struct.pack(f"<{len(said)}f", *said))
    )
    if isinstance(said[0], int):
        kind, items = 4, struct.pack(f"<{len(said)}I", *said)
    return struct.pack("<IIQ", 9, kind, len(said)) + items


def gguf(values: dict[str, Any], tensors: tuple[str, ...] = ("token_embd.weight", "output.weight")) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    keys = b"".join(text(key) + value(said) for key, said in values.items())
    names = b"".join(text(name) + struct.pack("<IQQIQ", 2, 64, 64, 2, 0) for name in tensors)
    return head + keys + names


def written(path: Path, values: dict[str, Any], **more: Any) -> Path:
    path.write_bytes(gguf(values, **more) + bytes(1000))
    return path


def test_grouped_attention(tmp_path: Path) -> None:
    path = written(tmp_path / "Some Model.Q4_K_M.gguf", QWEN)
    model, known = gguf_model_of(path), load_models().find("deepseek-r1-distill-qwen-7b")
    assert known
    shape = known.architecture
    assert model.id == "some-model.q4-k-m"
    assert (
        model.architecture.attention == shape.attention == HeadAttention(kind="gqa", heads=28, kv_heads=4, head_dim=128)
    )
    assert (model.architecture.layers, model.architecture.vocabulary) == (shape.layers, shape.vocabulary)
    assert not model.architecture.tied_embeddings
    assert model.builds[0].quantization == "Q4_K_M"
    assert model.builds[0].bytes == path.stat().st_size
    assert gguf_model_of(written(path, QWEN, tensors=("token_embd.weight",))).architecture.tied_embeddings


@pytest.mark.parametrize("lengths", [EARLY, LATER])
def test_latent_attention_and_experts_in_files_of_both_times(tmp_path: Path, lengths: dict[str, int]) -> None:
    model, known = gguf_model_of(written(tmp_path / "r1.gguf", R1 | lengths)), load_models().find("deepseek-r1")
    assert known
    assert model.architecture.attention == known.architecture.attention
    assert isinstance(model.architecture.attention, LatentAttention)
    assert model.architecture.experts == known.architecture.experts
    assert isinstance(model.architecture.experts, Experts)
    assert model.parameters == pytest.approx(known.parameters, rel=0.03)


def test_shards_count_together_and_have_to_be_there(tmp_path: Path) -> None:
    first, second = (tmp_path / f"m-0000{number}-of-00002.gguf" for number in (1, 2))
    written(first, QWEN | {"split.count": 2})
    with pytest.raises(BadInputError, match="1 of 2 shards are not there: m-00002-of-00002"):
        gguf_model_of(first)
    second.write_bytes(bytes(5000))
    (model,) = models_meant(f"{tmp_path}/", load_models())
    assert model.id == "m"
    assert model.builds[0].bytes == first.stat().st_size + 5000
    written(second, QWEN | {"split.count": 2})
    with pytest.raises(BadInputError, match="not the first"):
        gguf_model_of(second)


def test_a_number_for_each_layer(tmp_path: Path) -> None:
    path = written(tmp_path / "m.gguf", QWEN | {"qwen2.attention.head_count_kv": [2] * 14 + [4] * 14})
    attention = gguf_model_of(path).architecture.attention
    assert isinstance(attention, HeadAttention)
    assert attention.kv_heads == 4


@pytest.mark.parametrize("without", ["qwen2.block_count", "qwen2.context_length", "qwen2.attention.head_count"])
def test_what_is_not_said_is_named(tmp_path: Path, without: str) -> None:
    values = {key: said for key, said in QWEN.items() if key != without}
    with pytest.raises(BadInputError, match=f"m.gguf: it does not say {without}"):
        gguf_model_of(written(tmp_path / "m.gguf", values))


def test_two_models_in_a_folder_are_told_apart(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        written(tmp_path / name, QWEN)
    with pytest.raises(BadInputError, match="it holds 2 GGUFs"):
        models_meant(f"{tmp_path}/", load_models())


SMALL = gguf({key: said for key, said in QWEN.items() if key != "tokenizer.ggml.tokens"})


@given(st.one_of(st.binary(max_size=200), st.integers(0, len(SMALL) - 1).map(lambda length: SMALL[:length])))
def test_what_is_cut_off_or_none_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.gguf"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=r"any\.gguf"):
        read_header(path)


@pytest.mark.parametrize("number", [b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"])
def test_no_number_in_a_file_makes_room_for_itself(tmp_path: Path, number: bytes) -> None:
    path = tmp_path / "broken.gguf"
    for at in range(4, len(SMALL) - 4):
        path.write_bytes(SMALL[:at] + number + SMALL[at + 4 :])
        with suppress(BadInputError):
            gguf_model_of(path)


@given(st.data())
def test_a_flipped_byte_never_ends_in_another_way(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(SMALL) - 1))
    content = bytearray(SMALL)
    content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "flipped.gguf"
    path.write_bytes(content)
    with suppress(BadInputError):
        gguf_model_of(path)
