"""``timm:/resnet18.a1_in1k[@revision]``: the hub repository ``timm/resnet18.a1_in1k``."""

from __future__ import annotations

from pathlib import Path

from .external import ExternalArtifactRepository


class TimmArtifactRepository(ExternalArtifactRepository):
    """Weights of timm on the hub; see ``external.ExternalArtifactRepository``."""

    form = "timm:/name"

    def _resolve(self, name: str, revision: str, uri: str) -> Path:
        from .huggingface import snapshot

        return snapshot(f"timm/{name}", revision, uri)

    def _roots(self, folder: Path) -> tuple[Path, ...]:
        from .huggingface import mirror_roots

        return mirror_roots(folder)
