"""Large files of ours are read by a quick parser: it has to find in them what the one does that explains mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxwright.errors import BadInputError
from boxwright.model.accelerators import AcceleratorCatalogue
from boxwright.model.catalogue import ModelCatalogue
from boxwright.model.catalogues import INVENTORIES, load_accelerators, load_models
from boxwright.model.loading import load


def test_accelerators_are_the_same_by_either_reader() -> None:
    assert load_accelerators() == load(INVENTORIES / "accelerators.yml", AcceleratorCatalogue)


def test_models_are_the_same_by_either_reader() -> None:
    models = [
        one for path in sorted((INVENTORIES / "models").glob("*.yml")) for one in load(path, ModelCatalogue).models
    ]
    quick = {model.id: model for model in load_models().models}
    assert list(quick) == [model.id for model in models]
    assert [quick[model.id].architecture for model in models] == [model.architecture for model in models]


def test_a_mistake_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "accelerators.yml").write_text("accelerators:\n  - id: a\n    vendr: nvidia\n")
    with pytest.raises(BadInputError, match=r"accelerators\.yml:"):
        load_accelerators(tmp_path)
