"""Pickles and archives: nothing unpickles them, and nothing unpacks them."""

from __future__ import annotations

import ast
import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mlflow_recall.adapters.data.preparation import prepare
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.probe_cache import ProbeCache
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.errors import DatasetError
from mlflow_recall.ports import Probe, ProbeTask

ROOT = Path(__file__).parents[2]
#: modules and functions that run what a file says, or unpack it where a file says
FORBIDDEN = {
    *("pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "tarfile", "zipfile"),
    *("torch.load", "numpy.load", "np.load", "pd.read_pickle", "shutil.unpack_archive"),
    *("yaml.unsafe_load", "yaml.full_load", "eval", "exec"),
}


class Marker:
    """An object whose pickle creates a file when it is read."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self._file),)


@pytest.mark.parametrize(
    "file", sorted([*(ROOT / "mlflow_recall").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])
)
def test_no_module_unpickles_or_unpacks(file: Path) -> None:
    """What is not called cannot be reached by any file, tag or cache."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
        elif isinstance(node, ast.Call):
            names.add(ast.unparse(node.func))

    assert names & FORBIDDEN == set()


def test_a_pickle_in_the_cache_of_probes_is_no_probe(tmp_path: Path) -> None:
    """A cache may be a shared folder."""
    dataset = Dataset(
        name="d", digest="0" * 16, modality="text", classes=("a", "b"), sizes={}, source="",
        folder="",
    )  # fmt: skip
    task = ProbeTask(
        member=Member(name="m", version="1", modality="text", arch="transformers/bert"),
        dataset=dataset,
        recipe=Recipe(),
    )
    cache = ProbeCache(tmp_path / "probes")
    cache.put(
        task,
        Probe(
            labels=np.zeros(2, dtype=np.int64),
            embeddings=np.zeros((2, 3)),
            probabilities=None,
            seconds=1.0,
        ),
    )
    assert cache.get(task) is not None
    (file,) = (tmp_path / "probes").glob("*.safetensors")

    file.write_bytes(pickle.dumps(Marker(tmp_path / "ran")))

    assert cache.get(task) is None
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["data.zip", "data.tar", "data.tar.gz", "data.csv.zip", "d.pkl"])
def test_an_archive_or_a_pickle_is_no_dataset(name: str, tmp_path: Path) -> None:
    """An archive may hold `../` and links, and a pickle runs: neither is opened."""
    file, work = tmp_path / "work" / name, tmp_path / "work"
    work.mkdir()
    content = b"text,label\n" + b"".join(b"w%d,%d\n" % (i, i % 2) for i in range(12))
    if name.endswith(".zip"):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("../slipped.csv", content)
    elif name.endswith(".pkl"):
        file.write_bytes(pickle.dumps(Marker(tmp_path / "ran")))
    else:
        with tarfile.open(file, "w:gz" if name.endswith(".gz") else "w") as archive_file:
            member = tarfile.TarInfo("../slipped.csv")
            member.size = len(content)
            archive_file.addfile(member, io.BytesIO(content))

    with pytest.raises(DatasetError):
        prepare(DatasetSpec(path=str(file)))

    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(["work", name])
