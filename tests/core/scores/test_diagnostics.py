"""Facts of diagnostics: which scores are uninformative about the models at hand."""

from __future__ import annotations

import numpy as np
import pytest
from labeled import sample, sample_of

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.core.history.tasks import MULTILABEL, REGRESSION
from mlflow_recall.core.scores import SCORES, ForwardPass, Score, diagnose, uninformative
from mlflow_recall.core.scores.diagnostics import _strata, _stratified
from mlflow_recall.errors import ScoreInputError

NAMES = ("logme", "hscore", "lfc", "linear_probe", "knn")


def zoo(qualities: list[float], n: int = 150, d: int = 20, seed: int = 0) -> dict[str, ForwardPass]:
    """Models whose classes are as far apart as their quality; the same samples for all."""
    labels = np.arange(n) % 3
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(3, d))
    return {
        f"m{i}": ForwardPass(
            labels=labels, embeddings=rng.normal(size=(n, d)) + quality * means[labels]
        )
        for i, quality in enumerate(qualities)
    }


@pytest.mark.parametrize("d", [20, 300])
def test_a_score_of_models_of_different_quality_is_informative(d: int) -> None:
    assert uninformative(NAMES, zoo([0.1, 0.3, 0.6, 1.0], d=d)) == {}


@pytest.mark.parametrize("d", [20, 300])
def test_a_score_of_models_without_any_quality_is_uninformative(d: int) -> None:
    """By either test: spread within the noise, or no better than permuted labels."""
    reasons = uninformative(NAMES, zoo([0.0] * 5, d=d))

    assert set(reasons) == set(NAMES)
    assert all("noise" in reason or "permuted labels" in reason for reason in reasons.values())


def test_differences_that_are_noise_are_uninformative() -> None:
    """Good models, all alike: each beats permuted labels, and still none is better."""
    flagged = [uninformative(("logme",), zoo([0.4] * 8, seed=seed)) for seed in range(6)]

    assert sum("below its noise" in reasons.get("logme", "") for reasons in flagged) >= 2


def test_one_better_model_makes_a_score_informative() -> None:
    diagnostics = diagnose(("linear_probe",), zoo([0.0, 0.0, 0.0, 1.0]))["linear_probe"]

    assert diagnostics.reason == ""
    assert diagnostics.spread > diagnostics.noise > 0
    assert diagnostics.chance_scores["m3"] == pytest.approx(1 / 3, abs=0.1)


def test_a_score_that_is_the_same_for_all_models_is_uninformative() -> None:
    rng = np.random.default_rng(0)
    head = rng.dirichlet(np.ones(4), 60)
    passes = {m: ForwardPass(labels=np.arange(60) % 3, probabilities=head) for m in "ab"}

    assert uninformative(("leep",), passes) == {"leep": "it is the same for every model"}


def test_scores_of_a_random_source_head_are_uninformative() -> None:
    """Base encoders were given a random head: their LEEP is the labels' entropy."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    passes = {
        m: ForwardPass(labels=labels, probabilities=rng.dirichlet(np.full(50, 50.0), 300))
        for m in "abcde"
    }

    assert set(uninformative(("leep", "nce"), passes)) == {"leep", "nce"}


def test_many_samples_are_examined_in_part() -> None:
    """The noise is that of all samples, judged on 200 of them."""
    passes = zoo([0.1, 0.3, 0.6], n=800)
    part = diagnose(("logme",), passes, max_samples=200, halves=30)["logme"]
    whole = diagnose(("logme",), passes, halves=30)["logme"]

    assert part.spread == whole.spread
    assert part.noise == pytest.approx(whole.noise, rel=0.6)
    assert part.reason == ""


def test_the_noise_is_the_standard_error_of_a_mean() -> None:
    """Of a score that is a mean over samples, sd / √n of differences; here 1 / √(2 · 100)."""
    rng = np.random.default_rng(0)

    def mean(rows: FloatArray, labels: AnyArray) -> float:
        return float(rows.mean())

    table = {"mean": Score(compute=mean, needs="embeddings", low=-1.0, high=1.0, cost="O(n)")}
    labels = np.arange(100) % 2
    passes = {
        m: ForwardPass(labels=labels, embeddings=rng.normal(size=(100, 1))) for m in "abcdefgh"
    }

    diagnostics = diagnose(("mean",), passes, halves=60, table=table)["mean"]

    assert diagnostics.noise == pytest.approx(0.1, rel=0.2)


def test_one_model_alone_is_only_held_against_permuted_labels() -> None:
    assert uninformative(("logme",), zoo([1.0])) == {}
    assert "permuted labels" in uninformative(("logme",), zoo([0.0]))["logme"]


def test_undefined_scores_and_missing_models_are_reasons() -> None:
    assert uninformative(("leep",), zoo([0.5, 1.0])) == {"leep": "it is defined for no model"}
    assert uninformative(("leep",), {}) == {"leep": "no model was probed"}


def test_rare_classes_stay_in_every_half() -> None:
    """Otherwise the number of classes, and with it the scale of the score, would change."""
    features, _ = sample(60, 5)
    labels = np.r_[7, 8, np.arange(58) % 2]
    passes = {m: ForwardPass(labels=labels, embeddings=features + i) for i, m in enumerate("ab")}

    assert np.isfinite(diagnose(("gbc",), passes)["gbc"].noise)


def test_it_is_drawn_by_seed() -> None:
    """The spread over the models is not drawn; the noise of halves and the permutations are."""
    passes = zoo([0.2, 0.6])
    one, same, other = (diagnose(NAMES, passes, seed=seed) for seed in (3, 3, 4))

    assert one == same
    for name in NAMES:
        assert one[name].spread == other[name].spread
        assert one[name].noise != other[name].noise
        assert one[name].chance_scores != other[name].chance_scores


def test_what_it_is_not_defined_for_is_refused() -> None:
    passes = zoo([0.2, 0.6])
    other = {
        **passes,
        "other": ForwardPass(labels=np.zeros(150, dtype=int), embeddings=np.ones((150, 2))),
    }

    with pytest.raises(ScoreInputError, match="m0 and other were probed on different samples"):
        uninformative(NAMES, other)
    with pytest.raises(ScoreInputError, match="unknown score 'x'"):
        uninformative(("x",), passes)
    with pytest.raises(ScoreInputError, match=r"expected 2 halves, .* got 1, 10 and 1000"):
        uninformative(NAMES, passes, halves=1)


# --- other tasks ----------------------------------------------------------------------------------

OTHER_TASKS = pytest.mark.parametrize("task", [MULTILABEL, REGRESSION])


def zoo_of(task: str, qualities: list[float], n: int = 200, d: int = 15) -> dict[str, ForwardPass]:
    """Models whose embeddings know the same targets as well as their quality says."""
    clear, targets = sample_of(task, n, d, apart=3.0)
    rng = np.random.default_rng(1)
    return {
        f"m{i}": ForwardPass(
            labels=targets,
            embeddings=rng.normal(size=(n, d)) + quality * clear,
            task=task,
        )
        for i, quality in enumerate(qualities)
    }


def names_of(task: str) -> tuple[str, ...]:
    return tuple(name for name in NAMES if task in SCORES[name].tasks)


@OTHER_TASKS
@pytest.mark.parametrize("d", [15, 250])
def test_models_of_different_quality_are_told_apart_on_any_task(task: str, d: int) -> None:
    assert uninformative(names_of(task), zoo_of(task, [0.0, 0.3, 0.6, 1.5], d=d)) == {}


@OTHER_TASKS
def test_models_without_any_quality_are_not_told_apart_on_any_task(task: str) -> None:
    reasons = uninformative(names_of(task), zoo_of(task, [0.0] * 5))

    assert set(reasons) == set(names_of(task))
    assert all("noise" in reason or "permuted labels" in reason for reason in reasons.values())


@OTHER_TASKS
def test_a_part_of_many_samples_of_any_task_is_examined(task: str) -> None:
    passes = zoo_of(task, [0.0, 0.5, 1.0], n=500)
    part = diagnose(("logme",), passes, max_samples=200, halves=30)["logme"]
    whole = diagnose(("logme",), passes, halves=30)["logme"]

    assert part.spread == whole.spread
    assert part.noise == pytest.approx(whole.noise, rel=0.7)


def test_a_score_of_classes_is_undefined_for_numbers() -> None:
    passes = zoo_of(REGRESSION, [0.0, 1.0])

    assert uninformative(("hscore",), passes) == {"hscore": "it is defined for no model"}
    constant = {
        model: ForwardPass(labels=np.ones(200), embeddings=one.embeddings, task=REGRESSION)
        for model, one in passes.items()
    }
    assert uninformative(("logme",), constant) == {"logme": "it is defined for no model"}


def test_models_of_two_tasks_are_refused() -> None:
    passes = zoo_of(REGRESSION, [0.0, 1.0])
    passes["m1"] = ForwardPass(labels=passes["m1"].labels, embeddings=passes["m1"].embeddings)

    with pytest.raises(ScoreInputError, match="m0 and m1 were probed on different samples"):
        uninformative(("logme",), passes)


def test_strata_of_numbers_are_the_ranges_between_deciles() -> None:
    """Equal numbers are in one, and few numbers have fewer."""
    numbers = np.random.default_rng(0).permutation(np.arange(200.0)) ** 3

    assert np.bincount(_strata(numbers, REGRESSION)).tolist() == [20] * 10
    assert (_strata(numbers, REGRESSION)[numbers < 20**3] == 0).all()
    assert np.bincount(_strata(numbers[:12], REGRESSION)).tolist() == [4, 4, 4]
    ties = _strata(np.repeat([5.0, 1.0, 3.0], [90, 8, 2]), REGRESSION)
    assert ties.tolist() == np.repeat([1, 0, 0], [90, 8, 2]).tolist()
    assert _strata(np.array([1.0, 2.0]), REGRESSION).tolist() == [0, 0]


def test_the_stratum_of_labels_is_the_rarest_thing_about_a_sample() -> None:
    """A rare label, or a frequent one that it lacks: either stays in every half."""
    labels = np.array([[0, 1, 0]] * 10 + [[1, 1, 0]] * 8 + [[0, 1, 1]] * 2 + [[1, 0, 0]])

    strata = _strata(labels, MULTILABEL)

    assert len(set(strata.tolist())) == 4
    assert [len(set(strata[a:b])) for a, b in ((0, 10), (10, 18), (18, 20), (20, 21))] == [1] * 4
    for seed in range(5):
        half = labels[_stratified(strata, 10, np.random.default_rng(seed))]
        assert (np.ptp(half, axis=0) == 1).all()
