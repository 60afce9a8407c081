"""CONTRIBUTING does what it says: its policy decides, and can be replayed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mlflow_recall.core.backtest.replay import replay
from mlflow_recall.core.policies import PolicySpec

PAGE = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()


def test_policy_of_the_page_keeps_only_the_best_model() -> None:
    """A reader copies these ten lines: after the first stage, one model is left to train."""
    (block,) = re.findall(r"<!-- policy -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102 - our own page
    greedy = names["GREEDY"]
    assert isinstance(greedy, PolicySpec)

    outcome = replay(
        greedy.decide,
        {"a": [0.5, 0.6, 0.7], "b": [0.6, 0.6, 0.6], "c": [0.1, 0.9, 0.9]},
        None,
        greedy.make_options(stages=3),
    )

    assert outcome.winner == "b"
    assert outcome.epochs == 3 + 1 + 1
    assert outcome.last_stage == {"a": 1, "b": 3, "c": 1}
