"""The weights: fetched resumably, verified, and kept in one folder that every engine reads."""

from __future__ import annotations

from pyinfra import host
from pyinfra.operations import files

from deploys.operations.files import REQUESTS, request_text, written_file
from deploys.operations.install import fetched_model, folders, program

DIRECTORY = host.data.models_directory
REQUEST = f"{REQUESTS}/models.json"

folders()
program("fetch-model", "models/fetch_model.py")
files.directory(name="Make the folder of models", path=DIRECTORY, user="root", group="root", mode="755")
written_file(
    name="Write what models to fetch, and from where",
    content=request_text(
        directory=DIRECTORY,
        files=host.data.models_files,
        python_index=host.data.models_python_index,
        proxy=host.data.models_proxy,
    ),
    dest=REQUEST,
    mode="600",
)
for wanted in host.data.models_files:
    fetched_model(
        name=f"Fetch {wanted['name']}",
        path=f"{DIRECTORY}/{wanted['name']}",
        size=wanted["bytes"],
        sha256=wanted["sha256"],
        request=REQUEST,
    )
