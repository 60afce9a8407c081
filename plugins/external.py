"""A read-only artifact repository over a local folder that a subclass finds or fetches."""

from __future__ import annotations

import posixpath
import shutil
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NoReturn
from urllib.parse import unquote

from mlflow.store.artifact.artifact_repo import ArtifactRepository

if TYPE_CHECKING:
    from mlflow.entities import FileInfo
    from mlflow.exceptions import MlflowException


class ExternalArtifactRepository(ArtifactRepository):
    """Files of a model version whose source is elsewhere: ``scheme:/name`` or ``scheme:/name@rev``.

    One slash: MLflow's server refuses sources without a path, which ``scheme://name`` is. MLflow
    also cuts a URI where it likes: asked for ``hf:/org/name`` itself, it opens ``hf:/org`` and asks
    for ``name``. So URI and artifact path are read as one.
    """

    #: how a source is written, for errors; its slashes tell how many parts a name has
    form: ClassVar[str]

    def __init__(
        self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
    ) -> None:
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        self._folders: dict[tuple[str, str], Path] = {}

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """The files themselves, or a copy of them below ``dst_path``.

        Args:
            artifact_path: below the root; empty for everything.
            dst_path: an existing folder to copy to; None: nothing is copied.

        Returns:
            Absolute path of a file or folder.

        Raises:
            MlflowException: the source cannot be resolved, or there is no such artifact.
        """
        if dst_path:
            self._find(artifact_path)  # its own error, before the one that copying wraps it in
            return str(super().download_artifacts(artifact_path, dst_path))  # type: ignore[no-untyped-call]
        return self.get_local_path(artifact_path)

    def get_local_path(self, artifact_path: str) -> str:
        """Where an artifact is on this machine: a tracking server then sends that very file.

        Raises:
            MlflowException: the source cannot be resolved, or there is no such artifact.
        """
        return str(self._find(artifact_path))

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """Files and folders directly below ``path``; nothing below a file.

        Raises:
            MlflowException: the source cannot be resolved, or there is no such artifact.
        """
        from mlflow.entities import FileInfo

        found = self._find(path)
        return [
            FileInfo(
                posixpath.join(path or "", entry.name),
                entry.is_dir(),
                None if entry.is_dir() else entry.stat().st_size,
            )
            for entry in (sorted(found.iterdir()) if found.is_dir() else ())
        ]

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> NoReturn:
        """Refused, with an ``MlflowException``."""
        self._refuse(f"log {local_file} below {artifact_path or '/'}")

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> NoReturn:
        """Refused, with an ``MlflowException``."""
        self._refuse(f"log {local_dir} below {artifact_path or '/'}")

    def delete_artifacts(self, artifact_path: str | None = None) -> NoReturn:
        """Refused, with an ``MlflowException``."""
        self._refuse(f"delete {artifact_path or 'everything'}")

    @abstractmethod
    def _resolve(self, name: str, revision: str, uri: str) -> Path:
        """The local folder of a source.

        Args:
            name: what follows the scheme's slash.
            revision: what follows the ``@``; empty without one.
            uri: named in errors.

        Raises:
            MlflowException: it cannot be had; the message says where, expected, got and remedy.
        """

    def _find(self, path: str | None) -> Path:
        """A file or folder of the source, never one outside of it."""
        scheme, _, rest = self.artifact_uri.partition(":")
        whole = f"{rest.removesuffix('/')}/{path}" if path else rest
        parts = whole.removesuffix("/").split("/")
        depth = self.form.count("/")
        plain = all(part not in ("", ".", "..") for part in parts[1:])
        name, _, revision = "/".join(parts[1 : depth + 1]).partition("@")
        if parts[0] or len(parts) <= depth or not plain or not name:
            raise invalid(
                f"{self.artifact_uri}: expected {self.form} or {self.form}@revision, got "
                f"{'/'.join(parts)!r} after {scheme!r}: register the version with such a source "
                "(one slash after the scheme; a slash in a revision is written %2F)"
            )
        uri = f"{scheme}:{'/'.join(parts[: depth + 1])}"
        if (name, revision) not in self._folders:
            self._folders[name, revision] = self._resolve(name, unquote(revision), uri).resolve()
        folder = self._folders[name, revision]
        found = folder.joinpath(*parts[depth + 1 :])
        if not found.exists():
            held = ", ".join(sorted(entry.name for entry in folder.iterdir()))
            raise missing(f"{uri}: no artifact {'/'.join(parts[depth + 1 :])!r}: it has {held}")
        return found

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        shutil.copyfile(self._find(remote_file_path), local_path)

    def _refuse(self, what: str) -> NoReturn:
        raise invalid(
            f"{self.artifact_uri}: read-only: cannot {what}: "
            "log it to a run and register that as a version of its own"
        )


def invalid(message: str) -> MlflowException:
    """An error of what was asked for."""
    from mlflow.exceptions import MlflowException

    error: MlflowException = MlflowException.invalid_parameter_value(message)
    return error


def missing(message: str) -> MlflowException:
    """An error of what is not there."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

    return MlflowException(message, error_code=RESOURCE_DOES_NOT_EXIST)
