"""``example:/all-minilm-l6-v2``: weights that travel inside a package of the extra ``example``."""

from __future__ import annotations

from pathlib import Path

from mlflow_recall_plugins.external import ExternalArtifactRepository, invalid, missing


class ExampleArtifactRepository(ExternalArtifactRepository):
    """See ``external.ExternalArtifactRepository``."""

    def _resolve(self, name: str, revision: str) -> Path:
        from mlflow_recall.cache import cache_folder
        from mlflow_recall_example import weights

        if revision:
            raise invalid(
                f"{self.artifact_uri}: expected no revision, got {revision!r}: example weights "
                f"have the version of their package: write example:/{name}"
            )
        try:
            return weights.fetch(name, cache_folder("example"))
        except weights.ExampleError as error:
            raise missing(f"{self.artifact_uri}: {error}") from error
