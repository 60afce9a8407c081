"""The README does what it says: every command in it is run, here or by ``.ci/run``."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from tiny import tiny_bert, tiny_texts

from mlflow_recall.adapters.manifests.yaml_files import read_benchmarks, read_zoo

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = dict(re.findall(r"<!-- (\w+) -->\n```bash\n(.*?)```", README, re.DOTALL))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    (folder / "zoo.yaml").write_text(yaml.safe_dump({"models": models}))
    (folder / "benchmarks.yaml").write_text(yaml.safe_dump({"datasets": datasets}))
    for block in ("offline", "online", "look"):
        run(BLOCKS[block], folder)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """The reader's: our commands on the PATH, and a store in the folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {k: v for k, v in os.environ.items() if k != "_MLFLOW_SERVER_ARTIFACT_ROOT"}
    return {**kept, "PATH": path, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}


def run(commands: str, folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder, env=environment(folder), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"


@contextmanager
def running(command: str, folder: Path, port: int) -> Iterator[str]:
    """A server of the README on a free port; its address once it answers."""
    free = free_port()
    command = re.sub(r"--port \d+", "", command.strip()) + f" --port {free}"
    env = {**environment(folder), "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db"}
    log = folder / f"server-{port}.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            ["bash", "-c", f"exec env {command}"],
            cwd=folder, env=env, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{free}"
        for _ in range(240):
            assert server.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"{address}/health", timeout=2)  # noqa: S310
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


def test_own_models_from_the_zoo_file_to_a_served_winner(desk: Path) -> None:
    with running(BLOCKS["serve"], desk, 5001) as address:
        request = urllib.request.Request(  # noqa: S310
            f"{address}/invocations",
            data=b'{"dataframe_records": [{"text": "hello there"}]}',
            headers={"Content-Type": "application/json"},
        )
        answer = urllib.request.urlopen(request, timeout=60).read().decode()  # noqa: S310

    assert "label" in answer
    assert "score" in answer


def test_a_history_moves_as_text(desk: Path) -> None:
    run(BLOCKS["move"], desk)

    assert len((desk / "history" / "runs.jsonl").read_text().splitlines()) == 12


def test_the_ui_shows_the_store(desk: Path) -> None:
    with running(BLOCKS["server"], desk, 5000) as address:
        page = urllib.request.urlopen(address, timeout=30).read().decode()  # noqa: S310

    assert "MLflow" in page
