"""The defaults that a back-test prefers are kept with the history."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient

from mlflow_recall.adapters.tracking.stored_defaults import read_defaults, write_defaults
from mlflow_recall.adapters.tracking.tags import DEFAULTS
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.errors import HistoryError


def test_without_a_back_test_the_built_in_ones_stand(store: str) -> None:
    assert read_defaults(MlflowClient(store), "nowhere", "text", "accuracy") == Defaults()


def test_they_are_kept_by_modality_and_metric(store: str) -> None:
    client = MlflowClient(store)
    favored = Defaults(policy="cost_aware", top_k=None, min_gain_per_epoch=0.002, run_id="abc")

    write_defaults(client, "kept", "text", "accuracy", favored)

    assert read_defaults(client, "kept", "text", "accuracy") == favored
    assert read_defaults(client, "kept", "image", "accuracy") == Defaults()
    assert read_defaults(client, "kept", "text", "f1_macro") == Defaults()


def test_a_tag_of_another_format_is_refused(store: str) -> None:
    client = MlflowClient(store)
    write_defaults(client, "strange", "text", "accuracy", Defaults())
    experiment = client.get_experiment_by_name("strange/benchmark")
    assert experiment is not None
    client.set_experiment_tag(experiment.experiment_id, f"{DEFAULTS}.text.accuracy", "cost_aware")

    with pytest.raises(HistoryError, match="expected JSON that `mlflow-recall backtest` wrote"):
        read_defaults(client, "strange", "text", "accuracy")


def test_a_later_version_may_know_more() -> None:
    assert Defaults.from_json('{"policy": "halving", "mood": "good"}') == Defaults(policy="halving")
