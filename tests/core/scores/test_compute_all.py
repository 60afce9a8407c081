"""Several scores of one model share its decomposition and say why one is missing."""

from __future__ import annotations

from dataclasses import replace
from math import nan
from unittest.mock import patch

import numpy as np
import pytest
from labeled import sample

from mlflow_recall.core.scores import SCORES, ForwardPass, compute_all
from mlflow_recall.core.scores.features import unit_rows
from mlflow_recall.errors import ScoreInputError


def seen(n: int = 60, d: int = 8, *, normalize: bool | None = None) -> ForwardPass:
    features, labels = sample(n, d)
    theta = np.random.default_rng(0).dirichlet(np.ones(5), n)
    return ForwardPass(labels, features, theta, normalize)


@pytest.mark.parametrize(("n", "d"), [(60, 8), (30, 45)])
def test_together_they_are_what_they_are_alone(n: int, d: int) -> None:
    one = seen(n, d)

    got = compute_all(SCORES, one).values

    assert one.embeddings is not None
    rows = {
        name: unit_rows(one.embeddings) if score.unit else getattr(one, score.needs)
        for name, score in SCORES.items()
    }
    assert got == {n: score.compute(rows[n], one.labels) for n, score in SCORES.items()}


@pytest.mark.parametrize(("normalize", "times"), [(None, 2), (True, 1), (False, 1)])
def test_the_embeddings_are_decomposed_once_as_they_are_and_once_at_length_one(
    normalize: bool | None, times: int
) -> None:
    with patch("numpy.linalg.eigh", wraps=np.linalg.eigh) as eigh:
        compute_all(SCORES, seen(normalize=normalize))

    assert eigh.call_count == times


def test_transrate_sees_length_one_unless_told_otherwise() -> None:
    """Its distortion is in the squared unit of the features, so that lengths would decide."""
    one = seen()
    assert one.embeddings is not None
    shorter = replace(one, embeddings=one.embeddings / 1000)

    def transrate(given: ForwardPass) -> float:
        return compute_all(["transrate"], given).values["transrate"]

    assert transrate(shorter) == pytest.approx(transrate(one))
    plain = transrate(replace(one, normalize=False))
    assert transrate(replace(shorter, normalize=False)) < plain / 2


def test_rows_can_be_brought_to_length_one() -> None:
    one = seen(normalize=True)
    assert one.embeddings is not None
    unit = one.embeddings / np.linalg.norm(one.embeddings, axis=1, keepdims=True)

    got = compute_all(["logme", "transrate"], one).values

    assert got["logme"] == SCORES["logme"].compute(unit, one.labels)
    assert got["transrate"] == SCORES["transrate"].compute(unit, one.labels)
    assert compute_all(["leep"], one) == compute_all(["leep"], seen())


def test_samples_and_labels_can_be_exchanged() -> None:
    """With the Gram matrix of all samples where n < d, anew otherwise."""
    for n, d in ((60, 8), (30, 45)):
        one = seen(n, d)
        assert one.embeddings is not None
        assert one.probabilities is not None
        index, labels = np.arange(0, n, 2), np.roll(one.labels, 1)
        fewer = ForwardPass(one.labels[index], one.embeddings[index], one.probabilities[index])
        other = ForwardPass(labels, one.embeddings, one.probabilities)
        names = [name for name in SCORES if name != "nleep"]

        assert compute_all(names, one.select_rows(index)).values == pytest.approx(
            compute_all(names, fewer).values, rel=1e-8
        )
        assert compute_all(SCORES, one.with_labels(labels)) == compute_all(SCORES, other)


def test_what_is_missing_has_a_reason() -> None:
    features, labels = sample(20, 3)
    table = {**SCORES, "nothing": replace(SCORES["leep"], compute=lambda *_: nan)}

    got = compute_all(["leep", "logme"], ForwardPass(labels, features))

    assert list(got.values) == ["logme"]
    assert got.left_out == {"leep": "expected probabilities, got none"}
    assert (
        compute_all(["lfc"], ForwardPass(labels))
        .left_out["lfc"]
        .startswith("expected embeddings, got none")
    )
    assert "one of" not in str(compute_all(["nothing"], seen(), table=table).left_out)
    assert compute_all(["nothing"], seen(), table=table).left_out == {"nothing": "it is nan"}


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ScoreInputError, match="unknown score 'logmee': expected one of gbc, "):
        compute_all(["logmee"], seen())
