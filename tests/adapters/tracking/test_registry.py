"""The registry as a zoo: its members, models that are left out and why, winners, aliases."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file, save_file
from tiny import tiny_bert, tiny_timm

from mlflow_recall.adapters.manifests.yaml_files import ZooEntry
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.registry import DEFAULT_NAMESPACE, MlflowRegistry
from mlflow_recall.core.clusters.clustering import Cluster, Clustering
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.core.recommend.cold_start import ColdStartEstimate
from mlflow_recall.errors import ZooError

THEIRS = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture
def registry(client: MlflowClient, namespace: str) -> MlflowRegistry:
    return MlflowRegistry(client, namespace)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert"), classes=("no", "yes"))


def entry(folder: Path, **changes: Any) -> ZooEntry:
    return replace(
        ZooEntry(source=str(folder), modality="text", name="org/tiny", family="tiny"), **changes
    )


def members(registry: MlflowRegistry) -> tuple[list[Member], list[str]]:
    """Return the members, and one line for each model that is left out."""
    lines: list[str] = []
    return registry.members(lines.append), lines


def versions(client: MlflowClient, name: str) -> list[str]:
    return sorted(str(v.version) for v in client.search_model_versions(f"name = '{name}'"))


# --- register ------------------------------------------------------------------------------------


def test_a_local_folder_is_logged_and_its_weights_come_back_bit_by_bit(
    registry: MlflowRegistry, bert: Path, namespace: str
) -> None:
    done = registry.register(entry(bert, source_head=True, license="MIT", recipe={"epochs": 2}))

    (member,), lines = members(registry)
    assert (done.name, done.version, done.action) == (f"{namespace}--org--tiny", "1", "created")
    assert lines == []
    assert (member.name, member.version) == (done.name, "1")
    assert (member.modality, member.arch, member.family) == ("text", "transformers/bert", "tiny")
    assert member.has_source_head
    assert member.is_available
    assert member.recipe == {"epochs": 2}
    assert member.tags["recall.license"] == "MIT"
    weights = Path(registry.weights(member))
    assert weights != bert
    for file in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (weights / file).read_bytes() == (bert / file).read_bytes()


def test_registering_again_changes_nothing(
    client: MlflowClient, registry: MlflowRegistry, bert: Path
) -> None:
    name = registry.register(entry(bert)).name

    assert registry.register(entry(bert)).action == "unchanged"
    assert versions(client, name) == ["1"]


class Doubling:
    """A client whose first creation of a version is another one's too, a moment earlier."""

    def __init__(self, client: MlflowClient, earlier: Callable[[], object]) -> None:
        self._client = client
        self._earlier: list[Callable[[], object]] = [earlier]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def create_model_version(self, *arguments: Any, **fields: Any) -> Any:
        while self._earlier:
            self._earlier.pop()()
        return self._client.create_model_version(*arguments, **fields)


def test_two_that_register_at_once_make_one_version(
    registry: MlflowRegistry, client: MlflowClient, bert: Path, namespace: str
) -> None:
    """Both see that there is none; the weights that the later one logged are deleted too."""
    doubling = Doubling(client, lambda: registry.register(entry(bert)))

    done = MlflowRegistry(cast("MlflowClient", doubling), namespace).register(entry(bert))

    assert (done.version, done.action) == ("1", "unchanged")
    assert versions(client, done.name) == ["1"]
    (member,), _ = members(registry)
    assert (registry.weights(member) is not None, member.version) == (True, "1")


def test_what_was_registered_before_another_version_is_a_new_one(
    registry: MlflowRegistry, client: MlflowClient, bert: Path, tmp_path: Path
) -> None:
    """Back to the first weights, on purpose: no other process did that."""
    other = tiny_bert(tmp_path / "other", classes=("no", "yes"), seed=1)

    done = [registry.register(entry(folder)) for folder in (bert, other, bert)]

    assert [each.action for each in done] == ["created"] * 3
    assert versions(client, done[0].name) == ["1", "2", "3"]


def test_another_description_updates_tags_and_other_weights_are_a_new_version(
    client: MlflowClient, registry: MlflowRegistry, bert: Path, tmp_path: Path
) -> None:
    name = registry.register(entry(bert)).name

    updated = registry.register(entry(bert, license="MIT"))
    assert (updated.version, updated.action) == ("1", "updated")
    created = registry.register(entry(tiny_bert(tmp_path, seed=1), license="MIT"))
    assert (created.version, created.action) == ("2", "created")
    assert versions(client, name) == ["1", "2"]
    (member,), _ = members(registry)
    assert (member.version, member.tags["recall.license"]) == ("2", "MIT")


def test_another_shape_of_the_same_weights_is_a_new_version(
    registry: MlflowRegistry, bert: Path
) -> None:
    registry.register(entry(bert))

    assert registry.register(entry(bert, config={"num_hidden_layers": 1})).action == "created"
    (member,), _ = members(registry)
    assert member.config == {"num_hidden_layers": 1}


def test_a_folder_in_timms_layout_says_its_architecture(
    registry: MlflowRegistry, tmp_path: Path
) -> None:
    registry.register(entry(tiny_timm(tmp_path), modality="image"))

    (member,), _ = members(registry)
    assert (member.arch, member.library) == ("timm/test_resnet", "timm")


@pytest.mark.parametrize(
    ("source", "modality", "name", "arch"),
    [
        ("hf:/org/base@v1", "text", "org--base", "transformers/auto"),
        ("timm:/resnet18.a1_in1k@main", "image", "resnet18.a1_in1k", "timm/resnet18"),
    ],
)
def test_a_model_of_a_hub_is_registered_by_its_source_without_a_download(
    client: MlflowClient,
    registry: MlflowRegistry,
    namespace: str,
    source: str,
    modality: str,
    name: str,
    arch: str,
) -> None:
    """`org--name`: names in the registry have no slash."""
    done = registry.register(ZooEntry(source=source, modality=modality, family="bert"))

    assert done.name == f"{namespace}--{name}"
    assert client.get_model_version(done.name, "1").source == source
    (member,), _ = members(registry)
    assert member.arch == arch


def test_the_weights_of_a_hub_model_are_found_in_a_mirror(
    registry: MlflowRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RECALL_HUB", str(tmp_path))
    tiny_bert(tmp_path / "org" / "base")
    registry.register(ZooEntry(source="hf:/org/base", modality="text"))

    (member,), _ = members(registry)

    assert (Path(registry.weights(member)) / "model.safetensors").exists()


def test_a_member_says_how_weights_that_are_missing_elsewhere_are_made_again(
    client: MlflowClient, registry: MlflowRegistry
) -> None:
    plain = registry.register(ZooEntry(source="hf:/org/plain", modality="text"))
    second = ZooEntry(source="hf:/org/made", modality="text", rebuild="make it --again")
    made = registry.register(second)

    assert registry.register(second).action == "unchanged"
    result = {member.name: member for member in registry.members()}
    assert result[made.name].tags[tags.REBUILD] == "make it --again"
    assert tags.REBUILD not in result[plain.name].tags
    assert all(member.is_available for member in result.values())

    client.set_model_version_tag(made.name, made.version, tags.WEIGHTS, "absent")
    assert [m.is_available for m in registry.members()] == [False, True]
    assert registry.register(second).action == "updated"
    assert all(member.is_available for member in registry.members())
    assert versions(client, made.name) == ["1"]


def test_weights_that_cannot_be_had_are_one_line(registry: MlflowRegistry) -> None:
    registry.register(ZooEntry(source="hf:/nobody/nothing", modality="text"))
    (member,), _ = members(registry)

    with pytest.raises(ZooError, match="nobody--nothing version 1: no weights: ") as error:
        registry.weights(member)
    assert "\n" not in str(error.value)


def test_a_folder_of_pickles_or_none_at_all_is_refused_and_nothing_is_written(
    client: MlflowClient, registry: MlflowRegistry, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")

    with pytest.raises(ZooError, match=r"expected safetensors, got pytorch_model\.bin: nothing"):
        registry.register(entry(tmp_path))
    with pytest.raises(ZooError, match="expected a folder with safetensors, there is none"):
        registry.register(entry(tmp_path / "nowhere"))
    assert versions(client, f"{namespace}--org--tiny") == []
    assert client.get_experiment_by_name(f"{namespace}/zoo") is None


def test_a_folder_without_a_config_needs_an_architecture(
    registry: MlflowRegistry, tmp_path: Path
) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")

    with pytest.raises(ZooError, match=r"expected config\.json in .*, or the key arch"):
        registry.register(entry(tmp_path, modality="image"))
    assert registry.register(entry(tmp_path, arch="timm/test_vit")).action == "created"


def test_namespaces_do_not_see_each_other(
    client: MlflowClient, registry: MlflowRegistry, namespace: str
) -> None:
    registry.register(ZooEntry(source="hf:/org/base", modality="text"))
    other = MlflowRegistry(client, f"{namespace}/other")

    assert members(other) == ([], [])
    other.register(ZooEntry(source="hf:/org/base", modality="text"))
    assert [m.name for m in registry.members()] == [f"{namespace}--org--base"]
    assert [m.name for m in other.members()] == [f"{namespace}-other--org--base"]


# --- models that teams registered themselves -----------------------------------------------------


@pytest.fixture
def logged(client: MlflowClient, namespace: str) -> Iterator[Any]:
    """A team's own version: a folder logged as a model, registered under a name of their choice."""
    made = []

    def log(name: str, folder: Path, values: dict[str, str] | None = None, own: bool = True) -> str:
        name = f"{namespace}-{name}"
        experiment = client.create_experiment(f"{name}/theirs")
        model = client.create_logged_model(experiment, name="model")
        client.log_model_artifacts(model.model_id, str(folder))
        client.finalize_logged_model(model.model_id, "READY")
        client.create_registered_model(name, tags={tags.NAMESPACE: namespace} if own else {})
        made.append(name)
        source = f"models:/{model.model_id}"
        client.create_model_version(name, source, tags=values, model_id=model.model_id)
        return name

    yield log
    for name in made:
        client.delete_registered_model(name)


def flavored(folder: Path, classes: bool = True) -> Path:
    """What `mlflow.transformers.save_model` writes of a small encoder."""
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

    weights = tiny_bert(folder / "weights", classes=("no", "yes") if classes else None)
    kind = AutoModelForSequenceClassification if classes else AutoModel
    tokenizer: Any = AutoTokenizer
    mlflow.transformers.save_model(
        {"model": kind.from_pretrained(weights), "tokenizer": tokenizer.from_pretrained(weights)},
        str(folder / "model"),
        task="text-classification" if classes else "feature-extraction",
        pip_requirements=[],
    )
    return folder / "model"


@THEIRS
@pytest.mark.parametrize("classes", [True, False])
def test_a_transformers_flavor_with_safetensors_is_a_member(
    registry: MlflowRegistry, logged: Any, tmp_path: Path, classes: bool
) -> None:
    name = logged("theirs", flavored(tmp_path, classes))

    (member,), lines = members(registry)

    assert lines == []
    assert (member.name, member.modality, member.library) == (name, "text", "transformers")
    weights = Path(registry.weights(member))
    assert load_file(weights / "model" / "model.safetensors")
    assert (weights / "components" / "tokenizer").is_dir()


@THEIRS
def test_a_transformers_flavor_without_safetensors_is_left_out(
    registry: MlflowRegistry, logged: Any, tmp_path: Path
) -> None:
    folder = flavored(tmp_path)
    weights = folder / "model" / "model.safetensors"
    torch.save(load_file(weights), folder / "model" / "pytorch_model.bin")
    weights.unlink()
    name = logged("theirs", folder)

    line = f"expected safetensors in models:/{name}/1, got model/pytorch_model.bin"
    assert members(registry) == ([], [f"left out {name} version 1: {line}"])


@THEIRS
@pytest.mark.parametrize("form", ["pickle", "pt2"])
def test_a_pytorch_flavor_is_left_out_with_one_line(
    registry: MlflowRegistry, logged: Any, tmp_path: Path, form: str
) -> None:
    """Nothing here unpickles, and a traced graph cannot be fine-tuned."""
    mlflow.pytorch.save_model(
        torch.nn.Linear(2, 2),
        str(tmp_path / "model"),
        pip_requirements=[],
        serialization_format=form,
        input_example=np.zeros((1, 2), dtype=np.float32),
    )
    name = logged("theirs", tmp_path / "model")

    result, (line,) = members(registry)

    assert result == []
    assert line.startswith(f"left out {name} version 1: expected safetensors of the transformers")
    assert "got pytorch: nothing here unpickles" in line


def test_a_version_that_is_no_mlflow_model_is_left_out_with_one_line(
    registry: MlflowRegistry, logged: Any, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("x")
    logged("theirs", tmp_path)

    _, (line,) = members(registry)

    assert "expected the tag recall.arch or an MLmodel file, found neither" in line


def test_a_version_tagged_with_its_architecture_is_a_member(
    registry: MlflowRegistry, logged: Any, bert: Path
) -> None:
    run_tags = {tags.ARCH: "transformers/bert", tags.MODALITY: "text", tags.SOURCE_HEAD: "true"}
    logged("theirs", bert, run_tags)

    (member,), lines = members(registry)

    assert lines == []
    assert member.has_source_head
    assert (Path(registry.weights(member)) / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({tags.ARCH: "transformers/bert"}, "recall.modality"),
        ({tags.ARCH: "bert", tags.MODALITY: "text", tags.CONFIG: "{"}, "recall.config"),
        ({tags.ARCH: "timm/x", tags.MODALITY: "image", tags.RECIPE: "[1]"}, "recall.recipe"),
        ({tags.ARCH: "timm/x", tags.MODALITY: "image", tags.RECIPE: '{"lr": 1}'}, "field 'lr'"),
        ({tags.ARCH: "timm/x", tags.MODALITY: "sound"}, "recall.modality"),
        (
            {tags.ARCH: "b", tags.MODALITY: "text", tags.CONFIG: '{"trust_remote_code": true}'},
            "recall.config: unknown setting 'trust_remote_code'",
        ),
        (
            {tags.ARCH: "b", tags.MODALITY: "text", tags.CONFIG: '{"num_labels": 1000000000}'},
            "recall.config: num_labels: expected a whole number from 1 to 100000",
        ),
    ],
)
def test_tags_that_cannot_be_read_leave_a_version_out(
    registry: MlflowRegistry, logged: Any, tmp_path: Path, values: dict[str, str], reason: str
) -> None:
    """Anybody can write tags, so a wrong one is one line and no failure."""
    (tmp_path / "model.safetensors").touch()
    name = logged("theirs", tmp_path, values)

    result, (line,) = members(registry)

    assert result == []
    assert line.startswith(f"left out {name} version 1: ")
    assert reason in line


def test_a_model_of_no_namespace_belongs_to_the_default_one(
    client: MlflowClient, registry: MlflowRegistry, logged: Any, bert: Path
) -> None:
    run_tags = {tags.ARCH: "transformers/bert", tags.MODALITY: "text"}
    name = logged("theirs", bert, run_tags, own=False)

    assert name in {member.name for member in MlflowRegistry(client, DEFAULT_NAMESPACE).members()}
    assert registry.members() == []
    assert MlflowRegistry(client).name_of("org--name") == "org--name"


# --- clusters ------------------------------------------------------------------------------------


def test_clusters_are_tags_of_the_models_that_exist(
    registry: MlflowRegistry, client: MlflowClient
) -> None:
    names = [registry.register(ZooEntry(source=f"hf:/org/{n}", modality="text")).name for n in "ab"]
    clusters = (Cluster("text-1", names[1], (names[1], names[0])), Cluster("text-2", "x", ("x",)))
    clustering = Clustering(
        clusters=clusters,
        silhouette=math.nan,
        silhouette_paper=math.nan,
        models=(*names, "x"),
        distance=np.zeros((3, 3)),
    )

    assert registry.tag_clusters(clustering, "run-1", "accuracy") == 2

    result, _ = members(registry)
    assert [(m.cluster, m.is_representative) for m in result] == [
        ("text-1", False),
        ("text-1", True),
    ]
    run_tags = client.get_registered_model(names[0]).tags
    assert (run_tags[tags.CLUSTERED_BY], run_tags[tags.CLUSTER_METRIC]) == ("run-1", "accuracy")


def test_what_is_expected_of_a_new_model_is_tagged_until_it_has_a_history(
    registry: MlflowRegistry, client: MlflowClient
) -> None:
    """Once it is measured, the tags of the estimate are gone."""
    name = registry.register(ZooEntry(source="hf:/org/a", modality="text")).name
    alone = Clustering(
        clusters=(Cluster("text-1", "x", ("x", name)),),
        silhouette=math.nan,
        silhouette_paper=math.nan,
        models=("x",),
        distance=np.eye(1),
    )
    guess = ColdStartEstimate(
        model=name,
        nearest_model="x",
        distance=0.5,
        cluster_id="text-1",
        z_score=0.25,
        basis="features and scores on 2 datasets",
    )

    registry.tag_clusters(alone, "run-1", "accuracy", [guess])
    guessed = client.get_registered_model(name).tags
    registry.tag_clusters(alone, "run-2", "accuracy")
    known = client.get_registered_model(name).tags

    expected = {
        tags.ESTIMATED: "true",
        tags.NEAREST_MODEL: "x",
        tags.ESTIMATED_Z_SCORE: "0.25",
        tags.ESTIMATED_FROM: "features and scores on 2 datasets",
    }
    assert {tag: guessed[tag] for tag in expected} == expected
    assert known[tags.ESTIMATED] == "false"
    assert not {tags.NEAREST_MODEL, tags.ESTIMATED_Z_SCORE, tags.ESTIMATED_FROM} & set(known)


def test_the_cluster_is_the_model_s_whatever_its_version_says(
    registry: MlflowRegistry, client: MlflowClient
) -> None:
    """An import puts all tags on the version too; the next clustering tags the model alone."""
    made = registry.register(ZooEntry(source="hf:/org/a", modality="text"))
    client.set_model_version_tag(made.name, made.version, tags.CLUSTER, "text-9")
    client.set_model_version_tag(made.name, made.version, tags.REPRESENTATIVE, "false")
    alone = Clustering(
        clusters=(Cluster("text-1", made.name, (made.name,)),),
        silhouette=math.nan,
        silhouette_paper=math.nan,
        models=(made.name,),
        distance=np.eye(1),
    )

    registry.tag_clusters(alone, "run-1", "accuracy")

    ((member,), _) = members(registry)
    assert (member.cluster, member.is_representative) == ("text-1", True)


# --- winners -------------------------------------------------------------------------------------


@pytest.fixture
def crown(client: MlflowClient, registry: MlflowRegistry, namespace: str, bert: Path) -> Any:
    """Register the winner of a selection; the parent's run is its key."""
    experiment = client.create_experiment(namespace)
    member = Member(name="m", version="1", modality="text", arch="transformers/bert", family="tiny")

    dataset = Dataset(
        name="d", digest="", modality="text", classes=("a", "b"), sizes={}, source="", folder=""
    )

    def register(parent: str, alias: str = "winner") -> str:
        return str(
            registry.register_winner(
                f"{namespace}-best",
                bert,
                member,
                dataset,
                run_id=parent,
                parent_id=parent,
                experiment_id=experiment,
                alias=alias,
            ).version
        )

    register.experiment = experiment  # type: ignore[attr-defined]
    return register


def new_run(client: MlflowClient, crown: Any) -> str:
    run_id = str(client.create_run(crown.experiment).info.run_id)
    client.set_terminated(run_id)
    return run_id


def test_a_selection_has_one_winner_however_often_it_is_registered(
    client: MlflowClient, crown: Any, namespace: str
) -> None:
    """A command that ended after it registered a winner registers none twice."""
    parent = new_run(client, crown)

    assert crown(parent) == crown(parent) == "1"
    assert versions(client, f"{namespace}-best") == ["1"]


def test_a_winner_whose_registration_got_no_answer_has_one_version(
    client: MlflowClient, registry: MlflowRegistry, crown: Any, namespace: str
) -> None:
    """The request was sent again, when the version of the first one was there."""
    parent = new_run(client, crown)
    registry._client = cast("MlflowClient", Doubling(client, lambda: crown(parent)))

    assert crown(parent) == "1"
    assert versions(client, f"{namespace}-best") == ["1"]


def test_the_alias_moves_to_the_winner_of_the_next_selection(
    client: MlflowClient, crown: Any, namespace: str
) -> None:
    crown(new_run(client, crown))
    crown(new_run(client, crown))

    winner = client.get_model_version_by_alias(f"{namespace}-best", "winner")
    assert str(winner.version) == "2"
    assert versions(client, f"{namespace}-best") == ["1", "2"]


def test_a_winner_is_a_member_whose_weights_come_back(
    client: MlflowClient, registry: MlflowRegistry, crown: Any, namespace: str, bert: Path
) -> None:
    crown(new_run(client, crown))
    uri = f"models:/{namespace}-best@winner"

    (member,), lines = members(registry)

    assert lines == []
    assert (member.name, member.arch, member.has_source_head) == (
        f"{namespace}-best",
        "transformers/bert",
        True,
    )
    values = (bert / "model.safetensors").read_bytes()
    assert (Path(registry.weights(member)) / "model.safetensors").read_bytes() == values
    local = Path(mlflow.artifacts.download_artifacts(uri))
    assert (local / "model.safetensors").read_bytes() == values


# --- what a folder of weights may not do ---------------------------------------------------------


@pytest.mark.parametrize("path", ["/etc", "../../..", "weights/../../x"])
def test_an_mlmodel_names_no_weights_outside_of_its_folder(
    registry: MlflowRegistry, logged: Any, tmp_path: Path, path: str
) -> None:
    """A winner's file is read from the registry, where anyone may have logged it."""
    artifacts = {"weights": {"path": path, "uri": "weights"}}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text(
        json.dumps({"flavors": {"python_function": {"artifacts": artifacts}}})
    )
    logged("hostile", tmp_path / "model", {"recall.arch": "timm/x", "recall.modality": "image"})
    (member,), _ = members(registry)

    with pytest.raises(ZooError, match="expected weights below the model's folder"):
        registry.weights(member)


def test_a_folder_with_a_link_to_elsewhere_is_not_logged(
    registry: MlflowRegistry, client: MlflowClient, tmp_path: Path
) -> None:
    """A folder from somewhere would carry a file of this machine into the registry."""
    folder = tiny_bert(tmp_path / "bert")
    (tmp_path / "id_rsa").write_text("secret")
    (folder / "notes.txt").symlink_to(tmp_path / "id_rsa")

    with pytest.raises(ZooError, match=r"notes\.txt: expected a file inside .*, got a link to"):
        registry.register(entry(folder))
    assert members(registry) == ([], [])


def test_an_mlmodel_that_is_a_bomb_is_left_out_at_once(
    registry: MlflowRegistry, logged: Any, tmp_path: Path
) -> None:
    """Listing the zoo reads the file of every version without tags."""
    (tmp_path / "model").mkdir()
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60))]
    (tmp_path / "model" / "MLmodel").write_text("\n".join([*lines, "flavors: {x: {y: *a59}}"]))
    name = logged("bomb", tmp_path / "model")

    assert members(registry)[0] == []
    assert name in members(registry)[1][0]
