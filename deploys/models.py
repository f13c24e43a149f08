"""The weights: fetched resumably, verified, and kept in folders that every engine reads."""

from __future__ import annotations

from pyinfra import host
from pyinfra.operations import files

from boxwright.weights.credentials import hub_headers
from deploys.operations.files import REQUESTS, request_text, written_file
from deploys.operations.install import folders
from deploys.operations.models import fetched_build, fetcher

data = host.data
REQUEST = f"{REQUESTS}/models.json"


folders()
fetcher()
for build in data.models_builds:
    files.directory(
        name=f"Make the folder of {build['name']}", path=build["directory"], user="root", group="root", mode="755"
    )
written_file(
    name="Write what models to fetch, and from where",
    content=request_text(
        builds=[{key: build[key] for key in ("directory", "files")} for build in data.models_builds],
        folders=data.models_box_folders,
        python_index=data.models_python_index,
        proxy=data.models_proxy,
        no_proxy=data.models_no_proxy,
    ),
    dest=REQUEST,
    mode="600",
)
headers = hub_headers(
    huggingface=data.models_huggingface,
    huggingface_token=data.models_huggingface_token,
    modelscope=data.models_modelscope,
    modelscope_token=data.models_modelscope_token,
)
for build in data.models_builds:
    fetched_build(
        name=f"Fetch {build['name']}",
        build=build,
        request=REQUEST,
        folders=tuple(data.models_controller_folders),
        headers=headers,
        hand_on=data.get("models_hand_on"),  # of a batch that Boxwright provisions
    )
