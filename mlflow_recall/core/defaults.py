"""Defaults of recommenders and policies: built in, or preferred by a back-test."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from mlflow_recall.bounded_json import parse_json
from mlflow_recall.errors import HistoryError

#: models to train where neither the user nor the defaults say how many
DEFAULT_TOP_K = 5


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """Recommenders, policy and their settings behind the word ``auto``."""

    #: recommender that ranks the models
    ranker: str = "blend"
    #: recommender that selects the set to train
    set_selector: str = "portfolio"
    #: policy that stops candidates
    policy: str = "fine_selection"
    #: models to train; None: the policy chooses its initial candidates itself
    top_k: int | None = DEFAULT_TOP_K
    #: gain in the metric that one more epoch must be expected to bring
    min_gain_per_epoch: float = 0.001
    #: run of the back-test that preferred them; None: built in
    run_id: str | None = None

    def to_json(self) -> str:
        """Return the defaults as a tag keeps them."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Defaults:
        """Read what ``to_json`` wrote; names that a later version added are ignored.

        Raises:
            HistoryError: The text is something else.
        """
        try:
            values = parse_json(text)
            known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        except (ValueError, TypeError):
            raise HistoryError(
                f"defaults: expected JSON that `mlflow-recall backtest` wrote, got {text[:60]!r}: "
                "run it again"
            ) from None
        return cls(**known)
