"""A cohort is one study, whose trials end once, in whatever order a race ends them."""

from __future__ import annotations

import optuna
import pytest

from mlflow_recall.adapters.optuna.cohort_study import CohortStudy
from mlflow_recall.adapters.optuna.pruner import CohortPruner
from mlflow_recall.core.policies import POLICIES, PolicyOptions
from mlflow_recall.errors import StageIncomplete

MODELS = ("a", "b", "c", "d")


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def study_of(models: tuple[str, ...] = MODELS) -> CohortStudy[PolicyOptions]:
    return CohortStudy(models, CohortPruner(POLICIES["halving"].decide, PolicyOptions(3)))


def report(study: CohortStudy[PolicyOptions], stage: int, **scores: float) -> None:
    for model, score in scores.items():
        study.report(model, score, stage)


def stopped(study: CohortStudy[PolicyOptions], stage: int) -> set[str]:
    return {model for model, verdict in study.verdicts(stage).items() if verdict.stop}


def test_verdicts_are_by_the_name_of_the_model() -> None:
    """The race knows models, and Optuna knows numbers of trials."""
    study = study_of()
    report(study, 1, a=0.4, b=0.3, c=0.2, d=0.1)

    verdicts = study.verdicts(1)

    assert set(verdicts) == set(MODELS)
    assert stopped(study, 1) == {"c", "d"}
    assert verdicts["c"].rival == "b"


def test_models_that_were_stopped_have_no_later_verdict() -> None:
    """They trained no later stage."""
    study = study_of()
    report(study, 1, a=0.4, b=0.3, c=0.2, d=0.1)
    for model in ("c", "d"):
        study.prune(model)
    report(study, 2, a=0.4, b=0.5)

    assert set(study.verdicts(2)) == {"a", "b"}
    assert stopped(study, 2) == {"a"}


def test_a_missing_report_is_waited_for() -> None:
    """A verdict over half of a stage would depend on who is fast."""
    study = study_of()
    report(study, 1, a=0.4, b=0.3, c=0.2)

    with pytest.raises(StageIncomplete, match=r"got none of \[3\]"):
        study.verdicts(1)


def test_a_model_that_failed_is_not_waited_for() -> None:
    """One broken model never ends a selection; where it has reported, it counts."""
    study = study_of()
    report(study, 1, a=0.4, b=0.3, c=0.2)
    study.fail("d")
    assert stopped(study, 1) == {"b", "c"}
    study.fail("a")

    assert stopped(study, 1) == {"b", "c"}


def test_a_model_that_completed_early_counts_with_its_last_score() -> None:
    """It cannot become better, and the others may."""
    study = study_of()
    report(study, 1, a=0.4, b=0.3, c=0.2, d=0.1)
    study.complete("a", 0.4)
    report(study, 2, b=0.35)
    assert stopped(study, 2) == {"b"}

    other = study_of()
    report(other, 1, a=0.4, b=0.3, c=0.2, d=0.1)
    other.complete("a", 0.4)
    report(other, 2, b=0.45)
    assert stopped(other, 2) == {"a"}


def test_a_trial_ends_once() -> None:
    """Optuna refuses reports and a second end; a race may fail a model that is out already."""
    study = study_of(("a", "b"))
    report(study, 1, a=0.4, b=0.3)
    study.prune("b")

    study.fail("b")
    study.prune("b")
    study.complete("b", 0.9)
    study.report("b", 0.9, 2)
    report(study, 2, a=0.5)

    assert set(study.verdicts(2)) == {"a"}
