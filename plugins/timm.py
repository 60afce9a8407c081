"""``timm:/resnet18.a1_in1k[@revision]``: the hub repository ``timm/resnet18.a1_in1k``."""

from __future__ import annotations

from pathlib import Path

from mlflow_recall_plugins.external import ExternalArtifactRepository


class TimmArtifactRepository(ExternalArtifactRepository):
    """See ``external.ExternalArtifactRepository``."""

    def _resolve(self, name: str, revision: str) -> Path:
        from mlflow_recall_plugins.huggingface import snapshot

        return snapshot(f"timm/{name}", revision, self.artifact_uri)
