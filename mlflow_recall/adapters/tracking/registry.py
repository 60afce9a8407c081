"""The model registry as a zoo: registered models <-> members, tags, aliases, winners."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from mlflow_recall.adapters.manifests.yaml_files import ZooEntry
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import ensure_experiment
from mlflow_recall.adapters.tracking.entry_tags import entry_tags
from mlflow_recall.adapters.tracking.members import read_member
from mlflow_recall.core.clusters.clustering import Clustering
from mlflow_recall.core.history.records import Member
from mlflow_recall.core.recommend.cold_start import ColdStartEstimate
from mlflow_recall.errors import ZooError

#: namespace of everything that names no other
DEFAULT_NAMESPACE = "recall"
#: tags that describe a model to people
_CARD = (tags.FAMILY, tags.UPSTREAM, tags.ARCH, tags.SOURCE)
#: of a registered model whatever its versions say: an import writes the clusters of then on both
_CLUSTERED = (tags.CLUSTER, tags.REPRESENTATIVE, tags.CLUSTERED_BY, tags.CLUSTER_METRIC)
#: of a provisional member only
_EXPECTATION = (tags.ESTIMATED_FROM, tags.NEAREST_MODEL, tags.ESTIMATED_Z_SCORE)
#: what a winner is as large as
_SIZE = (tags.PARAMETERS, tags.GMACS, tags.INPUT_SIZE)


@dataclass(frozen=True)
class RegistrationResult:
    """What ``register`` did with one entry."""

    name: str
    version: str
    #: ``created``, ``updated`` (tags only) or ``unchanged``
    action: str


class MlflowRegistry:
    """See ``ports.Registry``.

    Args:
        client: of the tracking server that keeps the registry.
        namespace: models of other namespaces are not seen; the default one sees those without.
    """

    def __init__(self, client: MlflowClient, namespace: str = DEFAULT_NAMESPACE) -> None:
        self._client = client
        self._namespace = namespace

    def name_of(self, title: str) -> str:
        """Name in the registry of a model of this namespace."""
        if self._namespace == DEFAULT_NAMESPACE:
            return title
        return f"{self._namespace.replace('/', '-')}--{title}"

    def members(self, on_left_out: Callable[[str], None] | None = None) -> list[Member]:
        """See ``ports.Registry.members``; sorted by name, the newest version of each."""
        members = []
        for model, version in self._newest():
            told = {**model.tags, **version.tags}
            told |= {tag: model.tags[tag] for tag in _CLUSTERED if tag in model.tags}
            if told.get(tags.NAMESPACE, DEFAULT_NAMESPACE) != self._namespace:
                continue
            try:
                member = read_member(self._client, version, told)
                said = (model.description, version.description, *map(told.get, _CARD))
                members.append(replace(member, description=" ".join(filter(None, said))))
            except ZooError as error:
                if on_left_out is not None:
                    on_left_out(f"left out {error}")
        return sorted(members, key=lambda member: member.name)

    def weights(self, member: Member) -> str:
        """See ``ports.Registry.weights``."""
        try:
            uri = self._client.get_model_version_download_uri(member.name, member.version)
            folder = mlflow.artifacts.download_artifacts(
                artifact_uri=uri, tracking_uri=self._client.tracking_uri
            )
            return str(_weights_in(Path(folder)))
        except Exception as error:  # every artifact store has exceptions of its own
            reason = " ".join(str(error).split())
            raise ZooError(
                f"{member.name} version {member.version}: no weights: {reason}"
            ) from error

    def register(self, entry: ZooEntry) -> RegistrationResult:
        """Make an entry of a zoo file a registered model, or find that it is one already.

        Raises:
            ZooError: its folder has no safetensors.
        """
        name = self.name_of(entry.title)
        told = entry_tags(entry, self._namespace)
        model = self._model(name)
        versions = list(self._client.search_model_versions(f"name = '{name}'")) if model else []
        newest = max(versions, key=lambda v: int(v.version), default=None)
        key = {k: told[k] for k in (tags.SOURCE, tags.CONFIG, tags.WEIGHTS_DIGEST) if k in told}
        if newest is not None and all(newest.tags.get(k) == v for k, v in key.items()):
            changed = {k: v for k, v in told.items() if newest.tags.get(k) != v}
            for tag, value in changed.items():
                self._client.set_model_version_tag(name, newest.version, tag, value)
            return RegistrationResult(
                name, str(newest.version), "updated" if changed else "unchanged"
            )
        logged = self._logged(entry) if entry.folder else None
        source = f"models:/{logged}" if logged else entry.source
        if model is None:
            self._create(name, {tags.NAMESPACE: self._namespace})
        version = self._client.create_model_version(name, source, tags=told, model_id=logged)
        return RegistrationResult(name, str(version.version), "created")

    def tag_clusters(
        self,
        clustering: Clustering,
        run_id: str,
        metric: str,
        provisional: Sequence[ColdStartEstimate] = (),
    ) -> int:
        """See ``ports.Registry.tag_clusters``."""
        tagged, new = 0, {each.model: each for each in provisional}
        for cluster in clustering.clusters:
            for name in cluster.members:
                model = self._model(name)
                if model is None:
                    continue  # history of a model that was never registered, or is gone
                told = {
                    tags.CLUSTER: cluster.id,
                    tags.REPRESENTATIVE: str(name == cluster.representative).lower(),
                    tags.CLUSTER_METRIC: metric,
                    tags.ESTIMATED: str(name in new).lower(),
                    tags.CLUSTERED_BY: run_id,
                } | (_expectation(new[name]) if name in new else {})
                for tag, value in told.items():
                    self._client.set_registered_model_tag(name, tag, value)
                for tag in {*_EXPECTATION} & set(model.tags) - set(told):
                    self._client.delete_registered_model_tag(name, tag)
                tagged += 1
        return tagged

    def register_winner(
        self,
        name: str,
        folder: Path,
        member: Member,
        *,
        run_id: str,
        parent_id: str,
        experiment_id: str,
        alias: str,
        budget_stop: str | None = None,
    ) -> ModelVersion:
        """Log a servable folder, register it under ``name`` and alias it; once per selection.

        Args:
            name: of the registered model.
            folder: as ``zoo.serving.save_servable`` wrote it.
            member: the member that won.
            run_id: the candidate's run.
            parent_id: the selection's run, which is the key: a second call finds the first's.
            experiment_id: of both runs.
            alias: points to the version afterwards.
            budget_stop: Why it was not trained to the last stage; None: it was.
        """
        version = self._winner_of(name, parent_id)
        if version is None:
            logged = self._log_folder(experiment_id, name, folder, run_id)
            if self._model(name) is None:
                self._create(name, {})
            version = self._client.create_model_version(
                name,
                f"models:/{logged}",
                run_id=parent_id,
                tags={
                    tags.SELECTION: parent_id,
                    tags.MODEL: member.name,
                    tags.ARCH: member.arch,
                    tags.FAMILY: member.family,
                    tags.MODALITY: member.modality,
                    tags.SOURCE_HEAD: "true",
                    tags.NAMESPACE: self._namespace,
                    **{tag: member.tags[tag] for tag in _SIZE if tag in member.tags},
                    **({tags.BUDGET_STOP: budget_stop} if budget_stop else {}),
                },
                model_id=logged,
            )
        self._client.set_registered_model_alias(name, alias, version.version)
        return version

    def _winner_of(self, name: str, parent_id: str) -> ModelVersion | None:
        if self._model(name) is None:
            return None
        versions = self._client.search_model_versions(f"name = '{name}'")
        return next((v for v in versions if v.tags.get(tags.SELECTION) == parent_id), None)

    def _model(self, name: str) -> RegisteredModel | None:
        try:
            return self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _create(self, name: str, told: Mapping[str, str]) -> None:
        try:
            self._client.create_registered_model(name, tags=dict(told))
        except MlflowException as error:  # another process was faster
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _newest(self) -> Iterator[tuple[RegisteredModel, ModelVersion]]:
        """Every registered model with its highest version, in two paged searches."""
        models = {m.name: m for m in _pages(self._client.search_registered_models)}
        newest: dict[str, ModelVersion] = {}
        for version in _pages(self._client.search_model_versions):
            known = newest.get(version.name)
            if known is None or int(version.version) > int(known.version):
                newest[version.name] = version
        for name, version in newest.items():
            if name in models:
                yield models[name], version

    def _logged(self, entry: ZooEntry) -> str:
        """Id of a local folder of weights, logged so that every machine can have them."""
        experiment = ensure_experiment(self._client, f"{self._namespace}/zoo")
        folder = entry.folder or Path(entry.source)
        return self._log_folder(experiment, entry.title, folder, None)

    def _log_folder(self, experiment: str, name: str, folder: Path, run_id: str | None) -> str:
        plain = "".join(c if c.isalnum() or c in "-_" else "-" for c in name)
        logged = self._client.create_logged_model(experiment, name=plain, source_run_id=run_id)
        try:
            self._client.log_model_artifacts(logged.model_id, str(folder))
        except BaseException:
            self._client.finalize_logged_model(logged.model_id, "FAILED")
            raise
        self._client.finalize_logged_model(logged.model_id, "READY")
        return str(logged.model_id)


def _expectation(new_model: ColdStartEstimate) -> dict[str, str]:
    """What a provisional member carries until it has a history."""
    return {
        tags.ESTIMATED_FROM: new_model.basis,
        tags.NEAREST_MODEL: new_model.nearest_model,
        tags.ESTIMATED_Z_SCORE: f"{new_model.z_score:.6g}",
    }


def _weights_in(folder: Path) -> Path:
    """The folder of weights in what was downloaded: a winner is a served model around them."""
    if not (folder / "MLmodel").exists():
        return folder
    artifacts = Model.load(folder).flavors.get("python_function", {}).get("artifacts") or {}
    return folder / artifacts["weights"]["path"] if "weights" in artifacts else folder


def _pages(search: Callable[..., Any]) -> Iterator[Any]:
    token: str | None = None
    while True:
        page = search(max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
