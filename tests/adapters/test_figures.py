"""Pictures and Markdown of a run's page: right values in the right places."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from mlflow_recall.adapters.figures import (
    candidates_link,
    coverage_figure,
    dendrogram_figure,
    lift_figure,
    markdown_table,
    matrix_figure,
    race_figure,
    ranking_figure,
    run_link,
)
from mlflow_recall.core.arrays import read_only
from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.overview import NoiseFloor, Overview
from mlflow_recall.safe_text import safe_line

MATRIX = PerformanceMatrix(
    ("a", "b", "c", "d"),
    ("x", "y"),
    read_only([[0.1, 0.2], [0.9, 0.8], [0.11, 0.21], [0.9, math.nan]]),
)


def drawn(figure: Figure | None) -> Any:
    """The axes of a figure that can be drawn."""
    assert figure is not None
    file = io.BytesIO()
    figure.savefig(file, format="png")
    assert file.getvalue().startswith(b"\x89PNG")
    return figure.axes[0]


def ticks(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_the_heat_map_shows_every_score_in_the_order_of_the_clusters() -> None:
    axes = drawn(matrix_figure(MATRIX, cluster_models(MATRIX, count=2, prefix="text")))

    rows = [label.split() for label in ticks(axes.yaxis)]
    values = np.ma.filled(axes.images[0].get_array(), math.nan)
    shown = {model: list(row) for (model, _), row in zip(rows, values, strict=True)}
    assert [name for _, name in rows] == ["text-1"] * 2 + ["text-2"] * 2
    assert ticks(axes.xaxis) == ["x", "y"]
    assert shown["a"] == [0.1, 0.2]
    assert shown["b"] == [0.9, 0.8]
    assert math.isnan(shown["d"][1])
    assert sorted(text.get_text() for text in axes.texts) == sorted(
        f"{value:.2f}" for value in MATRIX.values.ravel() if not np.isnan(value)
    )


def test_the_coverage_has_the_best_measured_first_and_a_panel_a_modality() -> None:
    result = [
        Overview(modality=m, metric="acc", matrix=MATRIX, noise=NoiseFloor(math.nan, 0, 0))
        for m in ("image", "text")
    ]

    axes = drawn(figure := coverage_figure(result, "a"))

    assert len(figure.axes) == 2
    assert ticks(axes.xaxis) == ["x", "y"]
    assert ticks(axes.yaxis) == ["", "b", "c", "d"]  # without the prefix
    assert np.asarray(axes.images[0].get_array()).tolist() == [[1, 1], [1, 1], [1, 1], [1, 0]]
    assert axes.get_title() == "image acc: 87.5% measured, 1 cells missing (red)"


@pytest.mark.slow
def test_the_coverage_of_a_large_zoo_can_be_drawn() -> None:
    """Names that would run into each other are thinned."""
    names = tuple(str(i) for i in range(300))
    values = np.where(np.random.default_rng(0).random((300, 300)) < 0.5, 0.5, np.nan)

    axes = drawn(
        coverage_figure(
            [
                Overview(
                    modality="",
                    metric="acc",
                    matrix=PerformanceMatrix(names, names, read_only(values)),
                    noise=NoiseFloor(0, 0, 0),
                )
            ]
        )
    )

    assert len(ticks(axes.yaxis)) <= 120


def test_the_tree_names_every_model_and_k_means_has_none() -> None:
    axes = drawn(dendrogram_figure(cluster_models(MATRIX, count=2)))

    assert set(ticks(axes.yaxis)) == set(MATRIX.models)
    assert dendrogram_figure(cluster_models(MATRIX, method="kmeans", count=2)) is None


def test_the_race_shows_curves_and_predictions() -> None:
    axes = drawn(race_figure({"a": [0.1, 0.2], "b": [0.3]}, {"a": [(1, 0.5)], "b": []}, "accuracy"))

    values = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert values == {"a": [[1, 0.1], [2, 0.2]], "b": [[1, 0.3]]}
    (points,) = axes.collections
    assert points.get_offsets().tolist() == [[1, 0.5]]
    assert axes.get_ylabel() == "validation accuracy"


def test_a_race_of_many_has_a_line_and_a_name_for_everyone() -> None:
    """Colors repeat after ten, the legend does not; the axis has the stages that were reached."""
    curves = {f"m{i}": [0.1 * i, 0.2 * i, 0.3 * i][: 1 + i % 3] for i in range(20)}

    axes = drawn(race_figure(curves, {}, "accuracy"))

    assert {line.get_label(): line.get_ydata().tolist() for line in axes.lines} == curves
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(curves)
    assert axes.get_xticks().tolist() == [1, 2, 3]
    assert not axes.collections


def test_who_failed_before_the_first_stage_is_named_without_a_point() -> None:
    """A race without candidates is an empty figure, not an error."""
    axes = drawn(race_figure({"failed": [], "alone": [0.4]}, {"failed": []}, "f1_macro"))

    assert {line.get_label(): line.get_ydata().tolist() for line in axes.lines} == {
        "failed": [],
        "alone": [0.4],
    }
    assert axes.get_xticks().tolist() == [1]
    assert not drawn(race_figure({"failed": []}, {}, "accuracy")).get_xticks().tolist()


def test_the_ranking_standardizes_its_parts() -> None:
    """Parts of different units share an axis; a constant or unknown one is no error."""
    unknown = math.nan
    parts = {
        "prior": [0.1, 0.3],
        "score": [unknown, 2.0],
        "flat": [1.0, 1.0],
        "none": [unknown, unknown],
    }

    axes = drawn(ranking_figure(["a", "b"], parts, ["b"]))

    widths = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers}
    assert np.allclose(widths["prior"], [-1, 1])
    assert widths["flat"] == [0, 0]
    assert set(widths) == set(parts)
    assert ticks(axes.yaxis) == ["a", "b"]


def test_the_ranking_has_the_chosen_in_bold_wherever_they_stand() -> None:
    """A set is not the first of the ranking."""
    axes = drawn(ranking_figure(["a", "b", "c"], {"prior": [3.0, 2.0, 1.0]}, ["c", "a"]))

    weights = {label.get_text(): label.get_fontweight() for label in axes.get_yticklabels()}
    assert weights == {"a": "bold", "b": "normal", "c": "bold"}


def test_a_markdown_table_has_one_line_a_row_and_escapes_pipes() -> None:
    rows: list[dict[str, Any]] = [
        {"model": "a|b", "score": 0.12345, "rank": 1},
        {"model": "c", "score": None, "rank": 2},
    ]

    assert markdown_table(rows).splitlines() == [
        "| model | score | rank |",
        "| --- | --- | --- |",
        "| a\\|b | 0.123 | 1 |",
        "| c | - | 2 |",
    ]
    assert markdown_table([{"score": math.nan}]).endswith("| - |")
    assert markdown_table([{"reason": "two\nlines"}]).endswith("| two lines |")
    assert markdown_table([]) == ""


def test_links_carry_the_workflow_type() -> None:
    """Without it the UI opens in another mode, with the runs hidden."""
    assert run_link("http://h", "1", "r") == (
        "http://h/#/experiments/1/runs/r?workflowType=machine_learning"
    )
    link = candidates_link("http://h", "1", "r", "accuracy")
    assert "workflowType=machine_learning" in link
    assert "tags.mlflow.parentRunId%20%3D%20%27r%27" in link
    assert "metrics.%60val%2Faccuracy%60" in link


def test_lifts_show_each_recommender_over_how_many_are_recalled() -> None:
    """The paper's Fig. 5: a line above zero recalls better than chance."""
    axes = drawn(lift_figure({"prior": [0.3, 0.2], "blend": [0.4, 0.25]}, (1, 3)))

    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines["prior"] == [[1.0, 0.3], [3.0, 0.2]]
    assert lines["blend"] == [[1.0, 0.4], [3.0, 0.25]]


@pytest.mark.parametrize("name", ["$\\frac$", "a$b$c", "x\x1b[2J", "two\nlines"])
def test_a_name_is_no_formula_and_acts_on_nothing(name: str) -> None:
    """A figure is drawn at the end of hours of work, whatever a model is called."""
    figure = race_figure({name: [0.1, 0.2]}, {name: [(1, 0.3)]}, name)

    assert figure is not None
    figure.savefig(io.BytesIO())
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    assert legend.get_texts()[0].get_text().replace("\\$", "$") == safe_line(name)
