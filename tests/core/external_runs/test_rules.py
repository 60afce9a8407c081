"""Facts of rules: where a run keeps its scores, and what a tag says of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.core.external_runs.rules import (
    ImportRules,
    MetricSource,
    compare_by_one_split,
    sources_from_json,
    sources_to_json,
)
from mlflow_recall.errors import ConfigError


def test_the_last_point_of_each_epoch_is_a_stage() -> None:
    """Evaluated at the start and twice an epoch, over two epochs of 50 steps."""
    points = [(0, 0.1), (25, 0.2), (50, 0.3), (75, 0.4), (100, 0.5)]

    assert MetricSource(validation="v", epochs=2).stages(points, 1.0) == [0.3, 0.5]
    assert MetricSource(validation="v").stages(points, 100.0) == [10.0, 20.0, 30.0, 40.0, 50.0]


@given(st.integers(0, 12), st.lists(st.integers(0, 1000), min_size=1, unique=True))
def test_a_thinned_curve_keeps_its_end_and_never_has_more_stages_than_epochs(
    epochs: int, steps: list[int]
) -> None:
    points = [(step, float(step)) for step in sorted(steps)]

    stages = MetricSource(validation="v", epochs=epochs).stages(points, 1.0)

    assert stages[-1] == points[-1][1]
    assert stages == sorted(stages)
    assert len(stages) <= (epochs if epochs > 1 else len(points)) or len(points) <= epochs


def test_sources_are_read_back_from_their_tag() -> None:
    sources = {
        "accuracy": MetricSource(
            validation="eval_top1", test="test_acc", validation_scale=0.01, epochs=3
        ),
        "drift": MetricSource(validation="eval_drift", minimize=True),
    }

    assert sources_from_json(sources_to_json(sources)) == sources


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": {"strange": 1}}'])
def test_a_tag_of_something_else_has_no_sources(text: str) -> None:
    assert sources_from_json(text) == {}


def test_an_unknown_value_of_keep_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match="unknown value of keep 'first': expected one of all, best, last"
    ):
        ImportRules(keep="first")


def test_runs_of_a_dataset_are_compared_by_one_split() -> None:
    """Also if they were adopted one experiment after the other."""
    tested = MetricSource(validation="val", test="test", test_scale=0.01)
    untested, test_alone = MetricSource(validation="val"), MetricSource(test="test")

    sources = compare_by_one_split(
        [("x", tested), ("x", untested), ("y", tested), ("x", test_alone), ("y", test_alone)]
    )

    assert sources == [untested, untested, tested, test_alone, test_alone]
