"""What a selection will cost and find, before it is paid for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.core import policies
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.target import Target
from mlflow_recall.core.backtest.ways import Replayed
from mlflow_recall.core.clustering import unclustered
from mlflow_recall.core.curves import Curves
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.plan import (
    Paces,
    Strategy,
    fitting,
    paces,
    passes,
    recorded_targets,
    rehearse,
    strategy,
)
from mlflow_recall.core.policies import Settings
from mlflow_recall.core.probing import Probing
from mlflow_recall.core.recipes import Recipe
from mlflow_recall.core.recommend import Evidence, Gaps, recommender
from mlflow_recall.core.recommend.gaps import gaps_to_best
from mlflow_recall.core.records import Record
from mlflow_recall.core.truth import Truth
from mlflow_recall.errors import HistoryError, SettingError

NAN = math.nan
RECIPE = Recipe(train_samples=500, eval_samples=300)
#: seconds of a pass of each model, and how much longer those of a dataset take
MODELS = {"small": 0.001, "middle": 0.004, "large": 0.01}
DATASETS = {"short": 0.5, "usual": 1.0, "long": 3.0}


def timed(recipe: Recipe | None = RECIPE) -> list[Record]:
    """Every model on every dataset, each epoch exactly as long as model times dataset says."""
    work = 3 * 500 + 300 if recipe else 1
    return [
        Record(
            model,
            dataset,
            seconds=(pace * factor * work,) * 3,
            recipe=recipe.to_json() if recipe else "",
        )
        for model, pace in MODELS.items()
        for dataset, factor in DATASETS.items()
    ]


def pace(
    records: list[Record],
    *,
    sizes: Mapping[str, int] | None = None,
    parameters: Mapping[str, float] | None = None,
    unknown: tuple[str, ...] = (),
    recipe: Recipe = RECIPE,
) -> Paces:
    found = paces(
        records,
        [*MODELS, *unknown],
        dict.fromkeys(MODELS, recipe),
        parameters=parameters or {},
        sizes=sizes,
    )
    assert found is not None
    return found


# --- seconds -------------------------------------------------------------------------------------


def test_passes_of_an_epoch_by_hand() -> None:
    """A training sample is a forward pass and a backward pass of two; a validated one is one."""
    assert passes(Recipe(train_samples=100, eval_samples=50)) == 350
    assert passes(RECIPE, {"train": 100, "validation": 20}) == 320
    assert passes(Recipe(train_samples=0), {"train": 10, "validation": 5}) == 35
    assert math.isnan(passes(Recipe(train_samples=0)))
    assert math.isnan(passes(None))


def test_seconds_of_a_world_of_products_are_found_exactly() -> None:
    """The target is like the median dataset; here that is the usual one."""
    found = pace(timed())

    assert found.seconds == pytest.approx({m: s * 1800 for m, s in MODELS.items()})
    assert (found.guessed, found.scaled) == ((), False)
    assert 0.5 <= found.spread[0] < 1 < found.spread[1] <= 3


def test_seconds_grow_with_the_samples_of_the_target() -> None:
    small = pace(timed(), sizes={"train": 100, "validation": 50})
    large = pace(timed(), sizes={"train": 90_000, "validation": 50_000})

    assert small.scaled
    assert small.seconds == pytest.approx({m: s * 350 for m, s in MODELS.items()})
    assert large.seconds == pytest.approx(pace(timed()).seconds)  # no more than the recipe uses


def test_a_day_on_which_the_machine_was_busy_does_not_count() -> None:
    records = timed()
    records[4] = replace(records[4], seconds=(1e6, 1e6, 1e6))
    records[0] = replace(records[0], seconds=(1e6, *records[0].seconds[1:]))  # a cold start

    assert pace(records).seconds == pytest.approx(pace(timed()).seconds)


def test_missing_cells_do_not_bias_whom_they_miss() -> None:
    """The large model ran on the long dataset alone, the small one everywhere."""
    records = [r for r in timed() if r.model != "large" or r.dataset == "long"]

    assert pace(records).seconds == pytest.approx(pace(timed()).seconds)


def test_a_model_without_seconds_is_foretold_from_its_parameters() -> None:
    """Here seconds go with the root of the parameters, and the line in logarithms is exact."""
    parameters = {model: (1e4 * s) ** 2 for model, s in MODELS.items()}

    found = pace(
        timed(),
        parameters={**parameters, "new": (1e4 * 0.002) ** 2},
        unknown=("new", "nameless"),
    )

    assert found.guessed == ("new", "nameless")
    assert found.seconds["new"] == pytest.approx(0.002 * 1800)
    assert found.seconds["nameless"] == pytest.approx(MODELS["middle"] * 1800)


def test_without_parameters_a_new_model_is_as_slow_as_the_median_one() -> None:
    assert pace(timed(), unknown=("new",)).seconds["new"] == pytest.approx(0.004 * 1800)


def test_without_a_recipe_seconds_are_those_of_a_recorded_dataset() -> None:
    """How many samples they were made with is unknown, so the target's cannot scale them."""
    found = pace(timed(None), sizes={"train": 7, "validation": 7})

    assert not found.scaled
    assert found.seconds == pytest.approx(MODELS)


def test_nothing_is_said_of_seconds_that_nobody_recorded() -> None:
    assert paces([Record("a", "x", test=1.0)], ["a"], {}, parameters={}) is None


# --- rehearsals ----------------------------------------------------------------------------------


def world(seed: int = 0, models: int = 8, datasets: int = 6, stages: int = 4) -> Curves:
    """Curves that rise to an end, validation being the end with noise."""
    rng = np.random.default_rng(seed)
    ends = 0.5 + 0.1 * rng.normal(size=(models, 1)) + 0.05 * rng.normal(size=(models, datasets))
    rising = np.linspace(0.6, 1.0, stages)
    scores = ends[:, :, None] * rising + 0.02 * rng.normal(size=(models, datasets, stages))
    names = tuple(f"m{i}" for i in range(models))
    return Curves(names, tuple(f"d{j}" for j in range(datasets)), scores, ends)


def evidence(curves: Curves) -> Evidence:
    return Evidence(PerformanceMatrix(curves.models, curves.datasets, curves.ends), unclustered())


def acted(curves: Curves) -> list[Target]:
    return recorded_targets(evidence(curves), recommender("prior"), curves)


def test_a_target_is_ranked_for_without_its_own_scores() -> None:
    """Turned upside down on one dataset, the models keep their order there."""
    curves = world()
    ends = np.array(curves.ends)
    ends[:, 2] = -ends[:, 2]

    before, after = (
        acted(curves)[2],
        acted(Curves(curves.models, curves.datasets, curves.scores, ends))[2],
    )

    assert before.truth.models == after.truth.models
    assert before.dataset == after.dataset == "d2"
    assert before.past is not None
    assert "d2" not in before.past.curves.datasets


def test_targets_are_spread_over_many_datasets() -> None:
    found = acted(world(models=3, datasets=100))

    assert len(found) == 48
    assert (found[0].dataset, found[-1].dataset) == ("d0", "d99")


@pytest.mark.parametrize("name", sorted(policies.POLICIES))
@pytest.mark.parametrize("models", [1, 3, 8])
def test_every_epoch_is_some_models_stage(name: str, models: int) -> None:
    found = rehearse(name, models, acted(world()), Settings(4))

    assert found.on_curves
    assert found.reached.shape == (models, 4)
    assert found.reached.sum() == pytest.approx(found.epochs.mean())
    assert found.reached[:, 0] == pytest.approx(1.0)  # everyone is trained at first
    assert (np.diff(found.reached, axis=1) <= 1e-12).all()  # and nobody comes back
    assert (found.regrets >= 0).all()


@pytest.mark.parametrize("name", ["brute_force", "halving"])
def test_what_needs_no_scores_costs_what_the_formula_says(name: str) -> None:
    found = rehearse(name, 5, acted(world()), Settings(4))

    assert found.epochs.tolist() == [policies.epochs(name, 5, 4)] * 6


def test_fine_selection_never_costs_more_than_halving() -> None:
    some = acted(world())

    fine, half = (rehearse(name, 8, some, Settings(4)) for name in ("fine_selection", "halving"))

    assert (fine.epochs <= half.epochs).all()


def test_brute_force_over_noiseless_curves_has_no_regret() -> None:
    """The best on validation is the best."""
    curves = world()
    exact = Curves(
        curves.models, curves.datasets, np.repeat(curves.ends[:, :, None], 3, axis=2), curves.ends
    )

    assert rehearse("brute_force", 8, acted(exact), Settings(3)).regrets == pytest.approx(0.0)


def test_regret_counts_from_the_best_of_all_not_of_the_candidates() -> None:
    """By hand: one candidate at 0.7 where somebody reaches 0.9."""
    target = Target("x", Truth({"a": 0.7, "b": 0.9}), {"a": [0.5, 0.6], "b": [0.8, 0.9]})

    found = rehearse("halving", 1, [target], Settings(2))

    assert found.regrets == pytest.approx([0.2])
    assert found.epochs.tolist() == [2.0]


def test_a_zoo_with_missing_cells_costs_as_much_as_one_without() -> None:
    """On no dataset were all eight measured; training all of them takes all of their epochs."""
    curves = world()
    scores, ends = np.array(curves.scores), np.array(curves.ends)
    for j in range(6):
        scores[j, j], ends[j, j] = NAN, NAN
    holes = Curves(curves.models, curves.datasets, scores, ends)

    found = rehearse("halving", 8, acted(holes), Settings(4))

    assert found.epochs.tolist() == [policies.epochs("halving", 8, 4)] * 6
    assert found.reached.sum() == pytest.approx(policies.epochs("halving", 8, 4))


def test_without_curves_the_best_of_the_set_wins() -> None:
    curves = world()
    some = recorded_targets(evidence(curves), recommender("prior"))

    found = rehearse("fine_selection", 3, some, Settings(5))

    assert not found.on_curves
    assert found.epochs.tolist() == [3 + 1 + 1 + 1 + 1] * 6
    assert found.regrets.tolist() == [
        min(map(target.truth.regret, target.truth.models[:3])) for target in some
    ]


def test_a_history_without_two_models_on_a_dataset_cannot_be_rehearsed() -> None:
    with pytest.raises(HistoryError, match="plan: expected recorded datasets"):
        rehearse("halving", 2, [], Settings(4))


def test_an_unknown_policy_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SettingError, match="unknown policy 'friend': expected one of brute_force"):
        rehearse("friend", 2, acted(world()), Settings(4))


# --- strategies ----------------------------------------------------------------------------------


def gaps(curves: Curves) -> Gaps:
    return gaps_to_best(evidence(curves).matrix)


def rehearsal(regrets: list[float], reached: FloatArray) -> Replayed:
    """On as many datasets as there are regrets, with as many candidates as rows on each."""
    count, names = len(regrets), tuple(map(str, regrets))
    of = [np.full(count, value) for value in (reached.sum(), float(len(reached)), 0.0)]
    return Replayed(names, of[0], np.array(regrets), of[1], of[2], reached)


def everyone_to_the_end(models: int, stages: int) -> Replayed:
    return rehearsal([0.0, 0.2], np.ones((models, stages)))


def test_hours_by_hand() -> None:
    """Three models of 1, 2 and 3 seconds, two epochs: 12 seconds one by one."""
    curves = world(models=3)
    order, seconds = curves.models, dict(zip(curves.models, [1.0, 2.0, 3.0], strict=True))
    rehearsed = everyone_to_the_end(3, 2)

    alone, two, many = (
        strategy("s", "p", order, rehearsed, gaps=gaps(curves), pace=Paces(seconds), workers=n)
        for n in (1, 2, 8)
    )

    assert [each.hours * 3600 for each in (alone, two, many)] == pytest.approx([12.0, 6.0, 4.0])
    assert (alone.epochs, alone.most, alone.models) == (6.0, 6.0, 3)
    assert (alone.regret, alone.error) == pytest.approx((0.1, 0.1))
    assert alone.p_holds_best == 1.0  # it is everyone
    assert alone.gap == pytest.approx(0.0)


def test_nobody_helps_the_last_candidate() -> None:
    """Workers share candidates, not the epochs of one."""
    reached = np.array([[1.0, 1.0], [1.0, 0.0]])
    rehearsed = rehearsal([0.0], reached)
    curves = world(models=2)
    pace = Paces(dict.fromkeys(curves.models, 10.0))

    found = strategy("s", "p", curves.models, rehearsed, gaps=gaps(curves), pace=pace, workers=2)

    assert found.hours * 3600 == pytest.approx(10 + 10)


def test_probes_are_paid_for_in_epochs_and_hours() -> None:
    curves = world(models=3)
    pace = Paces(dict.fromkeys(curves.models, 4.0))
    rehearsed, probing = everyone_to_the_end(2, 2), Probing(("m0", "m2"), 0.25)

    def priced(probing: Probing | None) -> Strategy:
        return strategy(
            "s", "p", ["m0", "m1"], rehearsed, gaps=gaps(curves), pace=pace, probing=probing
        )

    assert priced(probing).epochs - priced(None).epochs == pytest.approx(0.5)
    assert (priced(probing).hours - priced(None).hours) * 3600 == pytest.approx(2.0)
    assert priced(probing).most - priced(None).most == pytest.approx(0.5)


def test_the_chance_to_hold_the_best_is_that_of_the_gaps() -> None:
    curves = world()
    known = gaps(curves)

    found = strategy("s", "p", ["m1", "m4"], everyone_to_the_end(2, 2), gaps=known)

    rows = known.gaps[[1, 4]]
    assert found.p_holds_best == known.p_holds_best(["m1", "m4"])
    assert found.gap == pytest.approx(rows.min(axis=0).mean())
    assert math.isnan(found.hours)


def offer(epochs: float, regret: float, hours: float = NAN, p: float = 0.5) -> Strategy:
    return Strategy("s", "halving", 1, epochs, epochs, hours, regret, NAN, p, regret)


offers = st.lists(
    st.builds(offer, st.floats(1, 50), st.floats(0, 1), st.floats(0.1, 10)), min_size=1, max_size=9
)


@given(offers, st.floats(1, 50), st.floats(0, 20))
def test_what_fits_is_within_and_more_budget_is_never_worse(
    some: list[Strategy], budget: float, more: float
) -> None:
    found, better = fitting(some, budget), fitting(some, budget + more)

    if found is None:
        assert all(each.epochs > budget for each in some)
    else:
        assert found.epochs <= budget + 1e-9
        assert better is not None
        assert better.regret <= found.regret + 1e-9


def test_of_equal_regrets_the_surer_and_then_the_cheaper_one() -> None:
    sure, cheap, dear = offer(9, 0.1, p=0.9), offer(3, 0.1), offer(5, 0.1)

    assert fitting([dear, cheap, sure], 10) is sure
    assert fitting([dear, cheap, sure], 6) is cheap
    assert fitting([dear, cheap, sure], 2) is None


def test_hours_that_nobody_knows_fit_no_limit() -> None:
    assert fitting([offer(3, 0.1)], hours=100.0) is None
    assert fitting([offer(3, 0.1, hours=2.0)], hours=2.0) is not None
