"""Sources of a zoo file are looked for on this machine, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_bert

from mlflow_recall.adapters.zoo.sources import locate
from mlflow_recall.errors import ZooError


def test_a_folder_is_itself_and_other_schemes_are_left_to_mlflow(tmp_path: Path) -> None:
    """Only MLflow knows what is behind its own sources."""
    assert locate(str(tmp_path)) == tmp_path
    assert locate("example:/all-minilm-l6-v2") is None
    assert locate("runs:/0123/model") is None


@pytest.mark.parametrize("source", ["hf:/no-such-org/no-such-name@main", "timm:/no_such_net"])
def test_weights_that_cannot_be_had_are_one_line_with_a_remedy(source: str) -> None:
    """A model that registers without weights fails in the middle of a selection."""
    with pytest.raises(ZooError, match=r"nothing cached, and no download .* MLFLOW_RECALL_HUB"):
        locate(source)


@pytest.mark.parametrize("source", ["hf:/org/bert", "hf:/org/bert@main", "timm:/bert"])
def test_a_mirror_is_read_before_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Machines without a hub keep its repositories in folders."""
    for organization in ("org", "timm"):
        tiny_bert(tmp_path / organization / "bert")
    monkeypatch.setenv("MLFLOW_RECALL_HUB", str(tmp_path))

    folder = locate(source)

    assert folder is not None
    assert (folder / "config.json").exists()


def test_a_repository_of_pickles_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing here unpickles, so its weights cannot be had either."""
    tiny_bert(tmp_path / "org" / "bert")
    (tmp_path / "org" / "bert" / "model.safetensors").rename(
        tmp_path / "org" / "bert" / "pytorch_model.bin"
    )
    monkeypatch.setenv("MLFLOW_RECALL_HUB", str(tmp_path))

    with pytest.raises(
        ZooError, match=r"expected weights as \*\.safetensors in org/bert, got none"
    ):
        locate("hf:/org/bert")
