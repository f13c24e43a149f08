"""What a trial of a model needs on a box: transformers and Gradio in an environment of their own, and its program."""

from __future__ import annotations

from pathlib import Path

from pyinfra import host
from pyinfra.operations import files

from deploys.operations.files import PROGRAMS, program_text, written_file
from deploys.operations.install import folders
from deploys.operations.python import python_3_11, python_packages

data = host.data
DESTINATION = "/opt/boxwright/try-model"
PROGRAM = f"{PROGRAMS}/try-model.d"
LISTS = Path(__file__).resolve().parent / "try_model"
PARTS = ("__main__.py", "model.py", "page.py", "gate.py", "location.conf")

folders()
python_3_11(
    mirror=data.try_model_debian_mirror,
    keyring=data.try_model_debian_keyring,
    check_valid_until=data.try_model_debian_check_valid_until,
    proxy=data.try_model_proxy,
)
python_packages(
    title="transformers and Gradio",
    destination=DESTINATION,
    release=data.try_model_flavour,
    requirements=(LISTS / f"requirements-{data.try_model_flavour}.lock").read_text(),
    index=data.try_model_python_index,
    wheels=data.try_model_wheels,
    proxy=data.try_model_proxy,
)
files.directory(name="Make the folder of what tries models", path=PROGRAM, user="root", group="root", mode="755")
for part in PARTS:
    written_file(
        name=f"Write the program try-model.d/{part}",
        content=program_text(f"try_model/{part}"),
        dest=f"{PROGRAM}/{part}",
    )
