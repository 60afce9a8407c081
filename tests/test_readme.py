"""Every command of the README and of the other pages is run, here or by ``.ci/run``."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import urllib.request
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml
from fakes import InlineEngine
from logged import log_hf
from mlflow import MlflowClient
from tiny import CLASSES, tiny_bert, tiny_texts
from waiting import PATH, read_url, run_server

from mlflow_recall.adapters.manifests.yaml_files import read_benchmarks, read_zoo
from mlflow_recall.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"<!-- (\w+) -->\n```bash\n(.*?)```", re.DOTALL)
BLOCKS = dict(BLOCK.findall(README))
PAGES = [
    page.read_text()
    for folder in (ROOT / "docs", ROOT / "docs" / "tasks")
    for page in sorted(folder.glob("*.md"))
]
#: blocks of the pages in ``docs``, in an order in which their files are there
PAGE_BLOCKS = {name: block for page in PAGES for name, block in BLOCK.findall(page)}
PAGE_ORDER = ("check", "tasks", "numbers", "files", "plan", "modes", "adopt")
#: blocks of the tasks, on data that ships
SHIPPED_ORDER = ("classes", "pairs", "labels", "sizes")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A folder as the README's reader has it: a zoo, benchmark files and a dataset."""
    folder = tmp_path_factory.mktemp("desk")
    models = []
    for i, rate in enumerate((2e-2, 1e-2, 1e-3, 1e-4)):
        tiny_bert(folder / f"m{i}", seed=i)
        models.append(
            {"name": "our-encoder" if i == 0 else f"m{i}", "source": f"m{i}", "modality": "text",
             "recipe": {"learning_rate": rate, "epochs": 2}}
        )  # fmt: skip
    datasets = []
    for i in range(3):
        tiny_texts(folder / f"d{i}.csv", rows=60, seed=i)
        datasets.append({"path": f"d{i}.csv"})
    tiny_texts(folder / "reviews.csv", rows=80, seed=9)
    reviews = folder / "reviews.csv"
    reviews.write_text(reviews.read_text().replace("label", "stars", 1))
    write_tasks(folder)
    (folder / "zoo.yaml").write_text(yaml.safe_dump({"models": models}))
    (folder / "benchmarks.yaml").write_text(yaml.safe_dump({"datasets": datasets}))
    shutil.copy(empty_store, folder / "mlflow.db")
    run_here(BLOCKS["offline"], folder)
    run_as_written(BLOCKS["online"], folder)
    run_here(BLOCKS["look"], folder)
    return folder


def write_tasks(folder: Path) -> None:
    """Write a dataset of each task, as docs/tasks.md has them."""
    texts = [f"w{i:02d} w{i % 7:02d} w{i % 5:02d}" for i in range(60)]
    marks = range(60)
    claims = {
        "premise": texts,
        "hypothesis": texts[::-1],
        "verdict": [CLASSES[i % 3] for i in marks],
    }
    pd.DataFrame(claims).to_csv(folder / "claims.csv", index=False)
    flags = {
        "text": texts,
        "rude": [i % 2 for i in marks],
        "threat": [int(i % 6 == 1) for i in marks],
    }
    pd.DataFrame(flags).to_csv(folder / "comments.csv", index=False)
    ratings = pd.DataFrame({"text": texts, "label": [i % 5 + 0.5 for i in marks]})
    ratings.to_csv(folder / "ratings.csv", index=False)
    ratings[::-1].to_csv(folder / "new-ratings.csv", index=False)
    (folder / "ratings.yaml").write_text(yaml.safe_dump({"datasets": [{"path": "ratings.csv"}]}))
    labels = [list("abc"[: i % 5 % 4]) for i in marks]
    rows = (
        json.dumps({"text": t, "labels": names}) for t, names in zip(texts, labels, strict=True)
    )
    (folder / "tags.jsonl").write_text("\n".join(rows))


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a reader: the commands on the PATH, a store in the folder."""
    kept = {k: v for k, v in os.environ.items() if k != "_MLFLOW_SERVER_ARTIFACT_ROOT"}
    return {**kept, "PATH": PATH, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}


def run_here(commands: str, folder: Path) -> None:
    """Run the lines of a block in this process, where everything is imported already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setattr("mlflow_recall.engines.get_engine", lambda *_: InlineEngine())
        for line in commands.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            assert program == "mlflow-recall"
            with pytest.raises(SystemExit) as leaving:
                main(arguments)
            assert leaving.value.code == 0, line


def run_as_written(commands: str, folder: Path) -> None:
    """Run a block in a shell."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder, env=environment(folder), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"


def test_every_command_block_is_run_by_someone() -> None:
    here = {"offline", "online", "look", "serve", "server", "move"}
    ci = {"main", "tests"}
    script = (ROOT / ".ci" / "run").read_text()

    assert set(BLOCKS) == here | ci
    assert README.count("```bash") == len(BLOCKS)
    assert all(f"readme {name}" in script for name in ci)


def test_the_zoo_and_the_benchmarks_of_the_readme_can_be_read(tmp_path: Path) -> None:
    zoo, benchmarks = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "zoo.yaml").write_text(zoo)
    (tmp_path / "benchmarks.yaml").write_text(benchmarks)

    assert len(read_zoo(tmp_path / "zoo.yaml")) == 3
    assert len(read_benchmarks(tmp_path / "benchmarks.yaml")) == 3


def test_own_models_from_the_zoo_file_to_a_served_winner(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What answers over HTTP is the model that the registry has."""
    command = re.sub(r"--port \d+", "", BLOCKS["serve"].strip())
    texts = ["w00 w03 w06", "w01 w04", "hello there"]
    rows = [{"text": text} for text in texts]

    with run_server(
        lambda port: ["bash", "-c", f"exec {command} --port {port}"], desk, environment(desk)
    ) as url:
        request = urllib.request.Request(  # noqa: S310
            f"{url}/invocations",
            data=json.dumps({"dataframe_records": rows}).encode(),
            headers={"Content-Type": "application/json"},
        )
        answers = pd.DataFrame(json.loads(read_url(request))["predictions"])

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{desk}/mlflow.db")
    winner = mlflow.pyfunc.load_model("models:/reviews@winner")
    expected = winner.predict(pd.DataFrame({"text": texts}))
    assert answers["label"].tolist() == expected["label"].tolist()
    assert answers["score"].tolist() == pytest.approx(expected["score"].tolist(), abs=1e-5)
    assert set(answers["label"]) <= set(CLASSES)
    assert answers["score"].between(1 / len(CLASSES), 1).all()


def test_every_command_block_of_the_pages_is_run() -> None:
    """A block without a name would not be."""
    assert set(PAGE_BLOCKS) == {*PAGE_ORDER, *SHIPPED_ORDER}
    assert sum(page.count("```bash") for page in PAGES) == len(PAGE_BLOCKS)


def test_the_commands_of_the_pages_are_right(desk: Path, tmp_path: Path) -> None:
    """A reader copies them after those of the README, with fine-tunings of their own."""
    folder = shutil.copytree(desk, tmp_path / "desk")
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    for model, score in (("org/a", 0.8), ("org/b", 0.7), ("org/c", 0.4)):
        for dataset in ("sst2", "cola"):
            log_hf(client, "fine-tuning", model, dataset, [score - 0.1, score], test=score)

    for name in PAGE_ORDER:
        run_here(PAGE_BLOCKS[name], folder)


def test_the_commands_of_the_tasks_run_on_what_ships(tmp_path: Path, empty_store: Path) -> None:
    """With real weights, and the history that the first of them imports."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    (tmp_path / "mlruns_example").symlink_to(ROOT / "mlruns_example")

    for name in SHIPPED_ORDER:
        run_here(PAGE_BLOCKS[name], tmp_path)


def test_a_history_moves_as_text(desk: Path) -> None:
    run_here(BLOCKS["move"], desk)

    assert len((desk / "history" / "runs.jsonl").read_text().splitlines()) == 12
