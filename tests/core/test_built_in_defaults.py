"""Facts of ``core.defaults``: what ``auto`` stands for, and how it is kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.policies import POLICIES
from mlflow_recall.core.recommend import RECOMMENDERS
from mlflow_recall.errors import HistoryError


def test_built_in_defaults_are_rows_of_the_tables() -> None:
    """Whoever renames a policy or a recommender must not leave ``auto`` behind."""
    assert Defaults().ranker in RECOMMENDERS
    assert Defaults().set_selector in RECOMMENDERS
    assert Defaults().policy in POLICIES
    assert Defaults().top_k > 0
    assert Defaults().min_gain_per_epoch > 0


@given(
    st.builds(
        Defaults,
        ranker=st.text(max_size=5),
        policy=st.sampled_from(sorted(POLICIES)),
        top_k=st.integers(0, 99),
        min_gain_per_epoch=st.floats(0, 1),
        run_id=st.text("0123456789abcdef", max_size=8),
    )
)
@settings(max_examples=20, deadline=None)
def test_what_was_written_is_read_again(defaults: Defaults) -> None:
    """They travel as one tag."""
    assert Defaults.from_json(defaults.to_json()) == defaults


def test_fields_of_an_earlier_or_later_version_do_no_harm() -> None:
    """What is not there keeps its built-in value, and what is new is not understood."""
    assert Defaults.from_json('{"top_k": 7, "unheard_of": 1}') == Defaults(top_k=7)
    assert Defaults.from_json("{}") == Defaults()


@pytest.mark.parametrize("text", ["", "price", "3", "null"])
def test_what_is_no_object_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(HistoryError, match=r"expected JSON that .*backtest.* wrote, got .*run it"):
        Defaults.from_json(text)
