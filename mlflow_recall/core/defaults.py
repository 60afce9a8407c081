"""What is used where nobody asks for another: built in, or what a back-test favored."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from mlflow_recall.errors import HistoryError


@dataclass(frozen=True)
class Defaults:
    """Recommenders, policy and their settings behind the word ``auto``."""

    #: ranks the models
    ranker: str = "blend"
    #: picks the set that is trained
    set_selector: str = "portfolio"
    #: stops candidates
    policy: str = "fine_selection"
    #: models to train; 0: the policy says how many
    top_k: int = 5
    #: score that one more epoch must be expected to bring
    min_gain_per_epoch: float = 0.001
    #: run of the back-test that favored them; empty: built in
    run_id: str = ""

    def to_json(self) -> str:
        """As a tag keeps them."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Defaults:
        """What ``to_json`` wrote; names that a later version added are left out.

        Raises:
            HistoryError: something else.
        """
        try:
            told = json.loads(text)
            known = {f.name: told[f.name] for f in fields(cls) if f.name in told}
        except (ValueError, TypeError):
            raise HistoryError(
                f"defaults: expected JSON that `mlflow-recall backtest` wrote, got {text[:60]!r}: "
                "run it again"
            ) from None
        return cls(**known)
