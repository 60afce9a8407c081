"""Use an installed wheel in an empty folder: nothing of a clone is imported.

    python tests/install/try_out.py

Run by `run.sh` beside it, with the Python of the environment that is tried out. Makes a tiny zoo
and datasets here, and selects from them on MLflow's default store, offline.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import time
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
COMMAND = str(Path(sysconfig.get_path("scripts")) / "mlflow-recall")
SCHEMES = ("example", "hf", "timm")


def say(line: str) -> None:
    print(f"  {line}", flush=True)  # noqa: T201


def recall(*argv: str) -> Any:
    """The JSON of a command."""
    started = time.monotonic()
    done = subprocess.run(
        [COMMAND, *argv, "--json", "-"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"mlflow-recall {' '.join(argv)}: exit {done.returncode}\n{done.stderr}")
    say(f"mlflow-recall {' '.join(argv)} ({time.monotonic() - started:.0f} s)")
    return json.loads(done.stdout)


def installed() -> None:
    """The packages are those of the environment, and the command starts."""
    import mlflow_recall
    import mlflow_recall_example

    site = Path(sysconfig.get_path("purelib"))
    for name in ("mlflow_recall", "mlflow_recall_example", "mlflow_recall_plugins"):
        file = str(import_module(name).__file__)
        assert Path(file).is_relative_to(site), file
    assert (mlflow_recall_example.FOLDER / "targets" / "targets.yaml").is_file()
    for argv in ([COMMAND], [sys.executable, "-m", "mlflow_recall"]):
        shown = subprocess.run([*argv, "--help"], capture_output=True, text=True, check=True)
        assert "select" in shown.stdout, shown
    say(f"{mlflow_recall.__name__} {mlflow_recall.__version__} and its command are there")


def zoo() -> None:
    """Three text models, one of them in a mirror of the hub, an image model, and their data."""
    from transformers.utils import logging

    sys.path.append(str(TESTS))
    from tiny import CLASSES, tiny_bert, tiny_images, tiny_texts, tiny_timm

    bars: Any = logging  # untyped
    bars.disable_progress_bar()
    tiny_bert(Path("hub/org/tiny"), seed=1)
    tiny_timm(Path("hub/timm/test_resnet"), classes=CLASSES)
    for i in (2, 3):
        tiny_bert(Path(f"bert-{i}"), layers=i - 1, seed=i)
    for i in range(3):
        tiny_texts(Path(f"set-{i}.csv"), 60, seed=i)
    tiny_images(Path("pictures"), 30)
    tiny_texts(Path("target.csv"), 90, seed=9)
    recipe = "recipe: {epochs: 2, batch_size: 8, learning_rate: 0.01"
    Path("zoo.yaml").write_text(
        "models:\n"
        f"  - {{source: hf:/org/tiny, modality: text, {recipe}}}}}\n"
        f"  - {{source: bert-2, name: bert-2, modality: text, {recipe}}}}}\n"
        f"  - {{source: bert-3, name: bert-3, modality: text, {recipe}}}}}\n"
        f"  - {{source: timm:/test_resnet, modality: image, {recipe}, input_size: 32}}}}\n"
    )
    Path("benchmarks.yaml").write_text(
        "datasets:\n" + "".join(f"  - {{path: set-{i}.csv}}\n" for i in range(3))
        + "  - {path: pictures}\n"
    )  # fmt: skip


def plugins() -> None:
    """MLflow knows the three schemes, and fetches by them."""
    import mlflow
    from mlflow.exceptions import MlflowException

    points = {entry.name: entry for entry in entry_points(group="mlflow.artifact_repository")}
    for scheme in SCHEMES:
        assert points[scheme].load().__module__.startswith("mlflow_recall_plugins."), scheme
    download: Any = mlflow.artifacts  # untyped
    assert Path(download.download_artifacts("hf:/org/tiny")) == Path("hub/org/tiny").resolve()
    assert Path(download.download_artifacts("timm:/test_resnet")).name == "test_resnet"
    values = ""
    try:
        values = download.download_artifacts("example:/all-minilm-l6-v2")
    except MlflowException as error:  # the extra `example` is not installed
        values = str(error)
    assert "pip install" in values or Path(values).is_dir(), values
    say("MLflow fetches hf:/, timm:/ and example:/")


def selection() -> None:
    """From a zoo file to a registered winner that answers."""
    import mlflow
    import pandas as pd

    assert len(recall("register", "--zoo", "zoo.yaml")["models"]) == 4
    done = recall("benchmark", "--datasets", "benchmarks.yaml", "--workers", "1")
    assert not done["failed"], done
    recall("cluster", "--modality", "text")
    recall("history", "show")
    data = recall(
        "select", "--dataset", "target.csv", "--top-k", "2", "--workers", "1",
        "--register-as", "tried",
    )  # fmt: skip
    assert data["registered"] == {"name": "tried", "version": "1", "alias": "winner"}, data
    assert Path("mlflow.db").is_file(), "MLflow's default store is elsewhere"
    model: Any = mlflow.pyfunc.load_model("models:/tried@winner")
    answer = model.predict(pd.DataFrame({"text": ["w00 w03 w06"]}))
    say(f"models:/tried@winner, which is {data['winner']}, answers {answer.to_dict('records')}")


def main() -> None:
    assert not any(Path().iterdir()), "expected to run in an empty folder"
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_RECALL_CACHE": str(Path("cache").resolve()),
        "MLFLOW_RECALL_HUB": str(Path("hub").resolve()),
        "OMP_NUM_THREADS": "1",
    }
    installed()
    zoo()
    plugins()
    selection()


if __name__ == "__main__":
    main()
