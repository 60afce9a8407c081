"""Optuna's own pruners replayed on recorded curves."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from mlflow_recall.adapters.optuna.baselines import BASELINES, replay_prefixes

STAGES = 5


def curves(seed: int, models: int = 9) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    values = np.sort(rng.random((models, STAGES)), axis=1)
    return {f"m{i}": row.tolist() for i, row in enumerate(values)}


@pytest.mark.parametrize("name", sorted(BASELINES))
@pytest.mark.parametrize("seed", range(5))
def test_a_study_of_the_first_few_ends_as_the_long_one_did_then(name: str, seed: int) -> None:
    """A pruner knows only the trials before, so one study answers for every number of them."""
    all_of_them = curves(seed)
    outcomes = replay_prefixes(name, all_of_them)
    for count in (1, 3, 6):
        short = replay_prefixes(name, dict(list(all_of_them.items())[:count]))
        assert short[-1] == outcomes[count - 1]


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_the_first_is_trained_to_the_end(name: str) -> None:
    first = replay_prefixes(name, curves(1))[0]

    assert (first.epochs, first.winner) == (STAGES, "m0")


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_the_winner_is_the_best_of_those_that_finished(name: str) -> None:
    given = curves(2)
    for outcome in replay_prefixes(name, given):
        finished = [m for m, stage in outcome.last_stage.items() if stage == STAGES]
        assert outcome.winner == max(finished, key=lambda m: given[m][-1])
        assert outcome.epochs == sum(outcome.last_stage.values())


def test_the_median_pruner_stops_whoever_is_below_the_median() -> None:
    """Two start; the third is below both from the first stage on and the fourth above."""
    given = {
        "a": [0.5, 0.6, 0.7],
        "b": [0.6, 0.7, 0.8],
        "low": [0.1, 0.1, 0.9],
        "high": [0.7, 0.8, 0.9],
    }

    got = replay_prefixes("optuna_median", given)[-1]

    assert got.last_stage == {"a": 3, "b": 3, "low": 1, "high": 3}
    assert got.winner == "high"


def test_optunas_verbosity_is_left_as_it_was() -> None:
    before = optuna.logging.get_verbosity()
    replay_prefixes("optuna_halving", curves(0))

    assert optuna.logging.get_verbosity() == before
