"""The model registry as a zoo: members, their weights and tags, and the winners of selections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from mlflow_recall.adapters.manifests.yaml_files import ZooEntry
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import ensure_experiment, search_versions
from mlflow_recall.adapters.tracking.entry_tags import entry_tags
from mlflow_recall.adapters.tracking.locations import EXTERNAL, resolve_location, resolve_source
from mlflow_recall.adapters.tracking.members import read_flavors, read_member
from mlflow_recall.containment import find_escape
from mlflow_recall.core.clusters.clustering import Clustering
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.core.history.tasks import CLASSIFICATION
from mlflow_recall.core.recommend.cold_start import ColdStartEstimate
from mlflow_recall.errors import TrackingError, ZooError
from mlflow_recall.safe_text import safe_data

#: namespace of models without the tag
DEFAULT_NAMESPACE = "recall"
#: tags that are part of a model's description
_DESCRIPTION_TAGS = (tags.FAMILY, tags.UPSTREAM, tags.ARCH, tags.SOURCE)
#: tags that count on the registered model alone: an import writes earlier ones on versions too
_CLUSTER_TAGS = (tags.CLUSTER, tags.REPRESENTATIVE, tags.CLUSTERED_BY, tags.CLUSTER_METRIC)
#: tags of estimated members alone
_ESTIMATE_TAGS = (tags.ESTIMATED_FROM, tags.NEAREST_MODEL, tags.ESTIMATED_Z_SCORE)
#: tags that a winner has in common with the model that was fine-tuned
_SIZE_TAGS = (tags.PARAMETERS, tags.GMACS, tags.INPUT_SIZE)


@dataclass(frozen=True)
class RegistrationResult:
    """A registered version, and what ``register`` did."""

    name: str
    version: str
    #: ``created``, ``updated`` (tags only) or ``unchanged``
    action: str


class MlflowRegistry:
    """The registered models of one namespace; see ``ports.Registry``.

    Args:
        client: Client of the tracking server with the registry.
        namespace: Namespace of the models; models without the tag are in the default one.
    """

    def __init__(self, client: MlflowClient, namespace: str = DEFAULT_NAMESPACE) -> None:
        self._client = client
        self._namespace = namespace

    def name_of(self, title: str) -> str:
        """Return the name in the registry of a model of this namespace."""
        if self._namespace == DEFAULT_NAMESPACE:
            return title
        return f"{self._namespace.replace('/', '-')}--{title}"

    def members(self, on_left_out: Callable[[str], None] | None = None) -> list[Member]:
        """Return the newest version of each model, by name; see ``ports.Registry.members``."""
        members = []
        for model, version in self._newest_versions():
            values = {**model.tags, **version.tags}
            values |= {tag: model.tags[tag] for tag in _CLUSTER_TAGS if tag in model.tags}
            if values.get(tags.NAMESPACE, DEFAULT_NAMESPACE) != self._namespace:
                continue
            try:
                member = read_member(self._client, version, values)
                texts = (
                    model.description,
                    version.description,
                    *(values.get(tag) for tag in _DESCRIPTION_TAGS),
                )
                members.append(replace(member, description=" ".join(filter(None, texts))))
            except ZooError as error:
                if on_left_out is not None:
                    on_left_out(f"left out {error}")
        return sorted(members, key=lambda member: member.name)

    def weights(self, member: Member) -> str:
        """See ``ports.Registry.weights``."""
        try:
            version = self._client.get_model_version(member.name, member.version)
            source = resolve_source(self._client, version)
            folder = Path(
                mlflow.artifacts.download_artifacts(
                    artifact_uri=source, tracking_uri=self._client.tracking_uri
                )
            )
            if source.partition(":")[0] not in EXTERNAL:  # the plugins check their own folders
                _check_contained(folder)
            return str(_weights_folder(folder))
        except Exception as error:  # every artifact store has exceptions of its own
            reason = " ".join(str(error).split())
            raise ZooError(
                f"{member.name} version {member.version}: no weights: {reason}"
            ) from error

    def register(self, entry: ZooEntry) -> RegistrationResult:
        """Register an entry of a zoo file as a new version, unless the newest one is the same.

        Two versions are the same if source, configuration and weights are. Other tags of the newest
        version are updated.

        Raises:
            ZooError: Its folder has no safetensors, or its architecture is unknown.
        """
        name = self.name_of(entry.title)
        values: dict[str, str] = safe_data(entry_tags(entry, self._namespace))
        if not entry.folder:
            self._check_source(entry)
        model = self._find_model(name)
        versions = search_versions(self._client, name) if model else []
        newest = max(versions, key=lambda v: int(v.version), default=None)
        key_tags = [t for t in (tags.SOURCE, tags.CONFIG, tags.WEIGHTS_DIGEST) if t in values]

        def is_same(version: ModelVersion) -> bool:
            return all(version.tags.get(tag) == values[tag] for tag in key_tags)

        if newest is not None and is_same(newest):
            changed = {tag: v for tag, v in values.items() if newest.tags.get(tag) != v}
            for tag, value in changed.items():
                self._client.set_model_version_tag(name, newest.version, tag, value)
            return RegistrationResult(
                name, str(newest.version), "updated" if changed else "unchanged"
            )
        model_id = self._log_weights(entry, entry.folder) if entry.folder else None
        source = f"models:/{model_id}" if model_id else entry.source
        if model is None:
            self._create_model(name, {tags.NAMESPACE: self._namespace})
        version, is_new = self._create_version(
            name,
            source,
            lambda earlier: earlier[-1] if earlier and is_same(earlier[-1]) else None,
            tags=values,
            model_id=model_id,
        )
        return RegistrationResult(name, str(version.version), "created" if is_new else "unchanged")

    def _check_source(self, entry: ZooEntry) -> None:
        """Check that the files of an entry's source may be read later.

        Raises:
            ZooError: They may not.
        """
        try:
            resolve_location(self._client, entry.source)
        except (TrackingError, MlflowException) as error:
            raise ZooError(f"{entry.title}: source: {' '.join(str(error).split())}") from error

    def tag_clusters(
        self,
        clustering: Clustering,
        run_id: str,
        metric: str,
        estimates: Sequence[ColdStartEstimate] = (),
    ) -> int:
        """See ``ports.Registry.tag_clusters``."""
        tagged, estimate_of = 0, {estimate.model: estimate for estimate in estimates}
        for cluster in clustering.clusters:
            for name in cluster.members:
                model = self._find_model(name)
                if model is None:
                    continue  # the model has a history, but is not registered
                estimate = estimate_of.get(name)
                values = {
                    tags.CLUSTER: cluster.id,
                    tags.REPRESENTATIVE: str(name == cluster.representative).lower(),
                    tags.CLUSTER_METRIC: metric,
                    tags.ESTIMATED: str(estimate is not None).lower(),
                    tags.CLUSTERED_BY: run_id,
                } | (_estimate_tags(estimate) if estimate else {})
                for tag, value in values.items():
                    self._client.set_registered_model_tag(name, tag, value)
                for tag in {*_ESTIMATE_TAGS} & set(model.tags) - set(values):
                    self._client.delete_registered_model_tag(name, tag)
                tagged += 1
        return tagged

    def register_winner(
        self,
        name: str,
        folder: Path,
        member: Member,
        dataset: Dataset,
        *,
        run_id: str,
        parent_id: str,
        experiment_id: str,
        alias: str,
        budget_stop: str | None = None,
    ) -> ModelVersion:
        """Log a servable folder, register it under ``name`` and give it an alias.

        A second call for the same selection returns the version of the first one.

        Args:
            name: Name of the registered model.
            folder: Folder that ``zoo.serving.save_servable`` wrote.
            member: Member that won.
            dataset: The target.
            run_id: Run of the candidate.
            parent_id: Run of the selection.
            experiment_id: Experiment of both runs.
            alias: Alias that points to the version afterwards.
            budget_stop: Why it was not trained to the last stage; None: it was.
        """
        version = self._find_winner(name, parent_id)
        if version is None:
            model_id = self._log_folder(experiment_id, name, folder, run_id)
            if self._find_model(name) is None:
                self._create_model(name, {})
            version, _ = self._create_version(
                name,
                f"models:/{model_id}",
                lambda earlier: next((v for v in earlier if _selection_of(v) == parent_id), None),
                run_id=parent_id,
                description=f"{member.name}, fine-tuned on {dataset.name} ({dataset.task}).",
                tags={
                    tags.SELECTION: parent_id,
                    tags.MODEL: member.name,
                    tags.ARCH: member.arch,
                    tags.FAMILY: member.family,
                    tags.MODALITY: member.modality,
                    # LEEP and NCE need classes
                    tags.SOURCE_HEAD: str(dataset.task == CLASSIFICATION).lower(),
                    tags.DATASET: dataset.name,
                    tags.TASK: dataset.task,
                    tags.NAMESPACE: self._namespace,
                    **{tag: member.tags[tag] for tag in _SIZE_TAGS if tag in member.tags},
                    **({tags.BUDGET_STOP: budget_stop} if budget_stop else {}),
                },
                model_id=model_id,
            )
        self._client.set_registered_model_alias(name, alias, version.version)
        return version

    def _find_winner(self, name: str, parent_id: str) -> ModelVersion | None:
        """Return the version that a selection registered before; None without one."""
        if self._find_model(name) is None:
            return None
        versions = search_versions(self._client, name)
        return next((v for v in versions if _selection_of(v) == parent_id), None)

    def _create_version(
        self,
        name: str,
        source: str,
        find_same: Callable[[list[ModelVersion]], ModelVersion | None],
        **fields: Any,
    ) -> tuple[ModelVersion, bool]:
        """Create a version, and return it and True; or the one that another process just made.

        So did, perhaps, a request of our own whose answer got lost. Numbers are given one by one:
        whoever finds the same among the versions before its own deletes its own.

        Args:
            name: Name of the registered model.
            source: Where its files are.
            find_same: Function from the earlier versions, oldest first, to the same one, or None.
            fields: Other arguments of MLflow's ``create_model_version``.
        """
        version = self._client.create_model_version(name, source, **fields)
        number = int(version.version)
        earlier = [v for v in search_versions(self._client, name) if int(v.version) < number]
        same = find_same(sorted(earlier, key=lambda v: int(v.version)))
        if same is None:
            return version, True
        self._client.delete_model_version(name, version.version)
        if fields["model_id"] and same.source != source:
            self._client.delete_logged_model(fields["model_id"])
        return same, False

    def _find_model(self, name: str) -> RegisteredModel | None:
        try:
            return self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _create_model(self, name: str, values: Mapping[str, str]) -> None:
        try:
            self._client.create_registered_model(name, tags=dict(values))
        except MlflowException as error:  # another process was faster
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _newest_versions(self) -> Iterator[tuple[RegisteredModel, ModelVersion]]:
        """Yield every registered model with its newest version, from two paged searches."""
        models = {m.name: m for m in _pages(self._client.search_registered_models)}
        newest: dict[str, ModelVersion] = {}
        for version in _pages(self._client.search_model_versions):
            current = newest.get(version.name)
            if current is None or int(version.version) > int(current.version):
                newest[version.name] = version
        for name, version in newest.items():
            if name in models:
                yield models[name], version

    def _log_weights(self, entry: ZooEntry, folder: Path) -> str:
        """Log the local weights of an entry, so that every machine can download them.

        Returns:
            Id of the logged model.
        """
        experiment = ensure_experiment(self._client, f"{self._namespace}/zoo")
        return self._log_folder(experiment, entry.title, folder, None)

    def _log_folder(self, experiment: str, name: str, folder: Path, run_id: str | None) -> str:
        """Log a folder as a model, and return the model's id.

        Args:
            experiment: Id of the experiment.
            name: Name of the model; characters that MLflow refuses become dashes.
            folder: Folder to log.
            run_id: Run that the model comes from; None: none.

        Raises:
            ZooError: A link in the folder leads out of it.
        """
        _check_contained(folder)
        allowed = "".join(c if c.isalnum() or c in "-_" else "-" for c in name)
        model = self._client.create_logged_model(experiment, name=allowed, source_run_id=run_id)
        try:
            self._client.log_model_artifacts(model.model_id, str(folder))
        except BaseException:
            self._client.finalize_logged_model(model.model_id, "FAILED")
            raise
        self._client.finalize_logged_model(model.model_id, "READY")
        return str(model.model_id)


def _estimate_tags(estimate: ColdStartEstimate) -> dict[str, str]:
    """Return the tags that a member has until it has a history."""
    return {
        tags.ESTIMATED_FROM: estimate.basis,
        tags.NEAREST_MODEL: estimate.nearest_model,
        tags.ESTIMATED_Z_SCORE: f"{estimate.z_score:.6g}",
    }


def _selection_of(version: ModelVersion) -> str | None:
    """Return the run of the selection that a version won; None where it won none."""
    return version.tags.get(tags.SELECTION)


def _weights_folder(folder: Path) -> Path:
    """Return the folder of the weights in a downloaded model; a winner has them in a subfolder."""
    if not (folder / "MLmodel").exists():
        return folder
    artifacts = read_flavors(folder / "MLmodel").get("python_function", {}).get("artifacts") or {}
    if "weights" not in artifacts:
        return folder
    path = str(artifacts["weights"]["path"])
    if not (folder / path).resolve().is_relative_to(folder.resolve()):
        raise ZooError(f"MLmodel: expected weights below the model's folder, got {path!r}")
    return folder / path


def _check_contained(folder: Path) -> None:
    """Check that all files of a folder of weights are in it.

    Raises:
        ZooError: A link leads out of it.
    """
    if escape := find_escape(folder):
        raise ZooError(
            f"{escape}: expected a file inside {folder}, got a link to {escape.resolve()}: "
            "copy the file, or delete the link"
        )


def _pages(search: Callable[..., Any]) -> Iterator[Any]:
    """Yield all results of a search, page by page."""
    token: str | None = None
    while True:
        page = search(max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
