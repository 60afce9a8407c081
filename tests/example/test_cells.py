"""Facts of a cell of the history that is made again, and a real one."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlflow_recall.core.history.records import Record
from mlflow_recall_example import FOLDER, build, cells
from mlflow_recall_example.packages import ExampleError

RECORDED = Record(
    model="m", dataset="d", final_score=0.8, test_scores=(0.7, 0.8), dataset_digest="a"
)


def again(test: float, digest: str = "a") -> cells.Again:
    made = replace(RECORDED, final_score=test, test_scores=(0.7, test), dataset_digest=digest)
    return cells.Again(RECORDED, made, noise=0.01)


def make(*arguments: str) -> Result:
    return CliRunner().invoke(build.main, ["cell", *arguments])


def test_what_came_out_is_judged_by_what_two_fine_tunings_differ_by() -> None:
    edge = 2 * math.sqrt(2) * 0.01

    assert again(0.8).words.endswith(
        "0.800 on record, 0.800 made again: the same after every epoch"
    )
    near, far = again(0.8 - edge + 1e-6), again(0.8 + edge + 1e-6)
    assert not near.far
    assert "0.028 apart, within the noise (two fine-tunings differ by 0.014" in near.words
    assert far.far
    assert "more than noise explains" in far.words


def test_other_data_are_named() -> None:
    assert "of other data (b, on record a)" in again(0.8, "b").words


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "dataset", "seed", "message"),
    [
        ("nobody", "spam", 0, "nobody is not in the history; expected bert-tiny-scratch, "),
        ("minilm-l1", "nothing", 0, "nothing is not in the history; expected animal_mnist, "),
        ("minilm-l1", "spam", 7, "minilm-l1 on spam: no seed 7 on record, expected: 0"),
        ("minilm-l1", "mnist", 0, "expected: none, they are of two modalities"),
    ],
)
def test_a_cell_that_is_not_on_record_is_named(
    model: str, dataset: str, seed: int, message: str, tmp_path: Path
) -> None:
    done = make(model, dataset, "--seed", str(seed), "--cache", str(tmp_path))

    assert done.exit_code == 1
    assert message in done.output
    assert "Traceback" not in done.output


def test_every_model_on_record_is_in_one_of_the_zoos() -> None:
    records, _ = cells.recorded("minilm-l6", "docstrings", 2)
    assert records.model == "minilm-l6"
    assert cells._entry("vit-tiny-animals")["modality"] == "image"
    with pytest.raises(ExampleError, match=r"in neither of zoo\.yaml and image_zoo\.yaml"):
        cells._entry("nobody")


def test_more_than_noise_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files: list[Path] = []

    def made_again(cell: Record, _seed: int, file: Path, _scratch: Path) -> Record:
        files.append(file)
        return replace(cell, final_score=cell.final_score - 0.3, test_scores=())

    monkeypatch.setattr(cells, "made_again", made_again)

    done = make("effnet-lite0", "script_id", "--seed", "1", "--cache", str(tmp_path))

    assert done.exit_code == 1
    assert "effnet-lite0 on script_id, seed 1: test accuracy" in done.output
    assert "0.300 apart, more than noise explains" in done.output
    assert files == [FOLDER / "targets" / "targets.yaml"]  # it ships, so it is not drawn again


@pytest.mark.slow
def test_a_real_cell_comes_out_as_it_is_on_record() -> None:
    """The README's command: a random network of two layers, on a set that ships."""
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    _, _, command = readme.partition("python -m mlflow_recall_example.build cell ")

    done = make(*command.partition("\n")[0].split())

    assert done.exit_code == 0, done.output
    assert "bert-tiny-scratch on debian_language, seed 0: test accuracy 0.513" in done.output
    assert "of other data" not in done.output
