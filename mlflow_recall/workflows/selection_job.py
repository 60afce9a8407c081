"""What every part of one selection works with."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from mlflow_recall.adapters.tracking.runs import ActiveRun, RunWriter
from mlflow_recall.cache import cache_folder
from mlflow_recall.config import SelectConfig
from mlflow_recall.workflows.services import Services


@dataclass(frozen=True, eq=False, kw_only=True)
class SelectionJob:
    """The settings, services and run of one selection."""

    config: SelectConfig
    services: Services
    writer: RunWriter
    #: run of the selection; candidates are its children
    parent: ActiveRun
    #: metric that models are selected by, which is the target's own
    metric: str
    #: when it started, on the clock of ``time.perf_counter``
    started: float = field(default_factory=time.perf_counter)

    @property
    def folder(self) -> Path:
        """Folder of the checkpoints until the selection ends."""
        return cache_folder("checkpoints", self.parent.run_id)

    @property
    def seconds(self) -> float:
        """Seconds since the start, recall included."""
        return time.perf_counter() - self.started
