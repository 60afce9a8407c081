"""Facts of the defaults: what ``auto`` stands for, and how it is kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall.core.defaults import DEFAULT_TOP_K, Defaults
from mlflow_recall.core.policies import POLICIES
from mlflow_recall.core.recommend import RECOMMENDERS
from mlflow_recall.errors import HistoryError


def test_built_in_defaults_are_rows_of_the_tables() -> None:
    """A policy or recommender that is renamed must be renamed here too."""
    assert Defaults().ranker in RECOMMENDERS
    assert Defaults().set_selector in RECOMMENDERS
    assert Defaults().policy in POLICIES
    assert Defaults().top_k == DEFAULT_TOP_K > 0
    assert Defaults().min_gain_per_epoch > 0


@given(
    st.builds(
        Defaults,
        ranker=st.text(max_size=5),
        policy=st.sampled_from(sorted(POLICIES)),
        set_selector=st.sampled_from(sorted(RECOMMENDERS)),
        top_k=st.none() | st.integers(1, 99),
        min_gain_per_epoch=st.floats(0, 1),
        run_id=st.none() | st.text("0123456789abcdef", min_size=1, max_size=8),
    )
)
@settings(max_examples=20)
def test_what_was_written_is_read_again(defaults: Defaults) -> None:
    """A tag of the registry keeps them."""
    assert Defaults.from_json(defaults.to_json()) == defaults


def test_fields_of_an_earlier_or_later_version_do_no_harm() -> None:
    """A missing field has its built-in value, and an unknown one is ignored."""
    assert Defaults.from_json('{"top_k": 7, "of_a_later_version": 1}') == Defaults(top_k=7)
    assert Defaults.from_json("{}") == Defaults()


@pytest.mark.parametrize("text", ["", "halving", "3", "null"])
def test_what_is_no_object_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(HistoryError, match=r"expected JSON that .*backtest.* wrote, got .*run it"):
        Defaults.from_json(text)
