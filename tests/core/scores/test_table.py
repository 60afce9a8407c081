"""Facts of the table of scores: every row is whole, and a forward pass serves each what it asks."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from labeled import sample

from mlflow_recall.core.scores import SCORES, ForwardPass
from mlflow_recall.core.scores.table import Score, compute_all
from mlflow_recall.errors import ScoreInputError


def test_scores_of_embeddings_can_share_a_decomposition_and_those_of_a_head_cannot() -> None:
    for row in SCORES.values():
        assert (row.shared is not None) == (row.needs == "embeddings")
        assert row.needs == "embeddings" or not row.unit


@pytest.mark.parametrize("name", sorted(SCORES))
def test_a_score_lies_in_its_stated_range(name: str) -> None:
    """Of classes that are well apart, of noise, and of a head that knows them or does not."""
    rng = np.random.default_rng(0)
    for apart in (0.0, 3.0):
        features, labels = sample(60, 6, apart=apart)
        head = rng.dirichlet(np.ones(4), 60) if not apart else np.eye(4)[labels] * 0.97 + 0.0075
        passed = ForwardPass(labels, features, head)

        value = compute_all([name], passed).values[name]

        assert SCORES[name].low - 1e-9 <= value <= SCORES[name].high + 1e-9
        assert np.isfinite(value)


def test_length_one_is_what_the_score_asks_for_unless_the_pass_says_otherwise() -> None:
    features, labels = sample(20, 4)
    lengths = [np.linalg.norm(features, axis=1), np.ones(20)]

    def is_unit(normalize: bool | None, *, unit: bool) -> bool:
        seen = ForwardPass(labels, features, normalize=normalize).features(unit=unit)
        plain = ForwardPass(labels, features).plain
        return not np.allclose(seen.space.rows, plain.space.rows)

    assert lengths[0].std() > 0
    assert [is_unit(None, unit=u) for u in (False, True)] == [False, True]
    assert [is_unit(True, unit=u) for u in (False, True)] == [True, True]
    assert [is_unit(False, unit=u) for u in (False, True)] == [False, False]


def test_a_row_of_another_package_is_computed_on_the_arrays_themselves() -> None:
    """It needs no shared decomposition, and what it refuses is a reason like any other."""

    def narrow(rows: np.ndarray, labels: np.ndarray) -> float:
        if rows.shape[1] > 4:
            raise ScoreInputError(f"expected four dimensions at most, got {rows.shape[1]}")
        return float(len(labels))

    table = {"narrow": Score(narrow, "embeddings", 0.0, inf, "O(1)")}
    features, labels = sample(20, 4)

    assert compute_all(["narrow"], ForwardPass(labels, features), table=table).values == {
        "narrow": 20.0
    }
    wide = ForwardPass(labels, np.hstack([features, features]))
    assert compute_all(["narrow"], wide, table=table).left_out == {
        "narrow": "expected four dimensions at most, got 8"
    }
