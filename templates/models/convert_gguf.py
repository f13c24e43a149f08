"""Make, of a quantized GGUF file, the unquantized safetensors and the tokenizer that engines without GGUF read.

Usage: PYTHON convert-gguf SOURCE DESTINATION VERSION

PYTHON is of an environment with transformers, torch and gguf. The result is whole or not there; it tells in
`DESTINATION/.converted` what it was made of and with. The same source and version give the same bytes.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def convert(source: Path, folder: Path) -> None:
    """Write a model folder in bfloat16."""
    import torch  # noqa: PLC0415 - of the environment that runs this
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415
    from transformers.utils.quantization_config import GgufConfig  # noqa: PLC0415

    place = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    tokenizer = AutoTokenizer.from_pretrained(**place)
    model = AutoModelForCausalLM.from_pretrained(
        **place, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main(source: Path, destination: Path, version: str) -> None:
    """Convert beside the destination, then take its place."""
    os.umask(0o022)
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    try:
        digest = source.with_name(f".{source.name}.verified").read_text().split()[2]
    except FileNotFoundError:
        sys.exit(f"convert-gguf: {source} is not there, or was never verified: run the stage models first")
    draft = destination.with_name(f".{destination.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    convert(source, draft)
    for file in draft.iterdir():
        file.chmod(0o644)
    (draft / ".converted").write_text(f"{digest} {version}\n")
    os.sync()
    shutil.rmtree(destination, ignore_errors=True)
    draft.rename(destination)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
