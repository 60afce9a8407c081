"""A read-only artifact repository over a local folder that a subclass finds or downloads."""

from __future__ import annotations

import posixpath
import shutil
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NoReturn
from urllib.parse import unquote

from mlflow.store.artifact.artifact_repo import ArtifactRepository

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow.entities import FileInfo
    from mlflow.exceptions import MlflowException


class ExternalArtifactRepository(ArtifactRepository):
    """Files of a model version with an external source: ``scheme:/name`` or ``scheme:/name@rev``.

    There is one slash, because MLflow's server refuses sources without a path, such as
    ``scheme://name``. MLflow may also split a URI: for ``hf:/org/name`` itself, it opens
    ``hf:/org`` and asks for ``name``. So URI and artifact path are read as one.
    """

    #: form of a source, for error messages; its slashes tell how many parts a name has
    form: ClassVar[str]

    def __init__(
        self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
    ) -> None:
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        self._folders: dict[tuple[str, str], Path] = {}

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """Return the path of the files themselves, or of a copy below ``dst_path``.

        Args:
            artifact_path: Path below the root; empty: everything.
            dst_path: Existing folder to copy to; None: nothing is copied.

        Returns:
            Absolute path of a file or folder.

        Raises:
            MlflowException: The source cannot be resolved, or there is no such artifact.
        """
        if dst_path:
            self._find(artifact_path)  # raises its own error, which copying would wrap in another
            return str(super().download_artifacts(artifact_path, dst_path))  # type: ignore[no-untyped-call]
        return self.get_local_path(artifact_path)

    def get_local_path(self, artifact_path: str) -> str:
        """Return where an artifact is on this machine, so that a tracking server can send it.

        Raises:
            MlflowException: The source cannot be resolved, or there is no such artifact.
        """
        return str(self._find(artifact_path))

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """List files and folders directly below ``path``; nothing is below a file.

        Raises:
            MlflowException: The source cannot be resolved, or there is no such artifact.
        """
        from mlflow.entities import FileInfo

        folder = self._find(path)
        return [
            FileInfo(
                posixpath.join(path or "", entry.name),
                entry.is_dir(),
                None if entry.is_dir() else entry.stat().st_size,
            )
            for entry in (sorted(folder.iterdir()) if folder.is_dir() else ())
        ]

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> NoReturn:
        """Raise an ``MlflowException``: the repository is read-only."""
        self._refuse(f"log {local_file} below {artifact_path or '/'}")

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> NoReturn:
        """Raise an ``MlflowException``: the repository is read-only."""
        self._refuse(f"log {local_dir} below {artifact_path or '/'}")

    def delete_artifacts(self, artifact_path: str | None = None) -> NoReturn:
        """Raise an ``MlflowException``: the repository is read-only."""
        self._refuse(f"delete {artifact_path or 'everything'}")

    @abstractmethod
    def _resolve(self, name: str, revision: str, uri: str) -> Path:
        """Return the local folder of a source.

        Args:
            name: Text after the slash of the scheme.
            revision: Text after the ``@``; empty without one.
            uri: Source as it is registered, for error messages.

        Raises:
            MlflowException: It is not available; the message says where, what was expected, what
                was found and what to do.
        """

    def _find(self, path: str | None) -> Path:
        """Return a file or folder of the source, never one outside of it."""
        scheme, _, rest = self.artifact_uri.partition(":")
        whole = f"{rest.removesuffix('/')}/{path}" if path else rest
        parts = whole.removesuffix("/").split("/")
        depth = self.form.count("/")
        plain = is_plain(parts[1:])
        name, _, revision = "/".join(parts[1 : depth + 1]).partition("@")
        if parts[0] or len(parts) <= depth or not plain or not name:
            raise invalid(
                f"{self.artifact_uri}: expected {self.form} or {self.form}@revision, got "
                f"{'/'.join(parts)!r} after {scheme!r}: register the version with such a source "
                "(one slash after the scheme; a slash in a revision is written %2F)"
            )
        uri = f"{scheme}:{'/'.join(parts[: depth + 1])}"
        if (name, revision) not in self._folders:
            self._folders[name, revision] = self._contained(name, unquote(revision), uri)
        folder = self._folders[name, revision]
        file = folder.joinpath(*parts[depth + 1 :])
        if not file.exists():
            names = ", ".join(sorted(entry.name for entry in folder.iterdir()))
            raise missing(f"{uri}: no artifact {'/'.join(parts[depth + 1 :])!r}: it has {names}")
        return file

    def _contained(self, name: str, revision: str, uri: str) -> Path:
        """Return the resolved folder of a source, whose revision is unquoted.

        Raises:
            MlflowException: A link leads out of the folder.
        """
        folder = self._resolve(name, revision, uri)
        check_links(folder, uri, *self._roots(folder))
        return folder.resolve()

    def _roots(self, folder: Path) -> tuple[Path, ...]:  # noqa: ARG002 - for subclasses
        """Return the folders that links of a source may lead to; none: the usual ones."""
        return ()

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        shutil.copyfile(self._find(remote_file_path), local_path)

    def _refuse(self, what: str) -> NoReturn:
        raise invalid(
            f"{self.artifact_uri}: read-only: cannot {what}: "
            "log it to a run and register that as a version of its own"
        )


def check_links(folder: Path, uri: str, *roots: Path) -> None:
    """Check that no link in a folder leads out of it, or out of the roots.

    Raises:
        MlflowException: One does.
    """
    from mlflow_recall.containment import find_escape

    if escape := find_escape(folder, *roots):
        raise invalid(
            f"{uri}: expected files inside its folder, got the link {escape} to "
            f"{escape.resolve()}: copy the file, or delete the link"
        )


def is_plain(parts: Sequence[str]) -> bool:
    """Return whether the parts of a path are names, which stay below where they start."""
    return all(part not in ("", ".", "..") and not {*part} & {"\\", "\0"} for part in parts)


def invalid(message: str) -> MlflowException:
    """Return the error for an invalid request."""
    from mlflow.exceptions import MlflowException

    error: MlflowException = MlflowException.invalid_parameter_value(message)
    return error


def missing(message: str) -> MlflowException:
    """Return the error for something that does not exist."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

    return MlflowException(message, error_code=RESOURCE_DOES_NOT_EXIST)
