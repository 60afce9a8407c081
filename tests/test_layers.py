"""The shape of the package: who imports whom, what is light, what is shipped."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mlflow_recall
from mlflow_recall import errors

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.slow
def test_the_import_contracts_hold() -> None:
    """No layer imports a higher one, and the core imports no framework."""
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    contracts = len(PROJECT["tool"]["importlinter"]["contracts"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Contracts: {contracts} kept, 0 broken" in done.stdout


@pytest.mark.parametrize("module", ["mlflow_recall", "mlflow_recall.cli", "mlflow_recall_plugins"])
def test_a_light_module_loads_nothing_heavy(module: str) -> None:
    """A new process is needed, since everything is loaded in this one."""
    heavy = {"torch", "mlflow", "optuna", "transformers", "timm", "datasets", "pandas", "sklearn"}
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )

    loaded = set(done.stdout.split())
    assert module in loaded
    assert loaded & heavy == set()


def test_all_is_what_there_is() -> None:
    assert sorted(mlflow_recall.__all__) == mlflow_recall.__all__
    public = {
        name
        for name, value in vars(mlflow_recall).items()
        if not name.startswith("_") and isinstance(value, type)
    }
    assert {*public, "__version__"} == set(mlflow_recall.__all__)


def test_every_error_is_exported_and_drawn_in_the_tree() -> None:
    tree = errors.__doc__ or ""
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, Exception):
            assert name in mlflow_recall.__all__
            assert f" {name} " in tree or f"{name}\n" in tree


def test_the_version_is_the_one_that_is_built() -> None:
    assert PROJECT["project"]["version"] == mlflow_recall.__version__


def test_every_folder_of_modules_is_a_package() -> None:
    """The build finds packages by their `__init__.py`: a folder without one is not shipped."""
    modules = [
        module
        for folder in ("mlflow_recall", "plugins", "mlruns_example")
        for module in (ROOT / folder).rglob("*.py")
    ]

    assert {m.parent for m in modules if not (m.parent / "__init__.py").is_file()} == set()


def test_every_library_that_is_imported_is_declared() -> None:
    """Otherwise it works only where another package happens to install it."""
    import ast

    names = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
    declared = {
        "".join(c if c.isalnum() or c in "-_" else " " for c in line).split()[0].replace("-", "_")
        for line in PROJECT["project"]["dependencies"]
    } | {"ray"}
    own = {"mlflow_recall", "mlflow_recall_plugins", "mlflow_recall_example"}
    imported: dict[str, Path] = {}
    for file in (ROOT / "mlflow_recall").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported.update({a.name.partition(".")[0]: file for a in node.names})
            if isinstance(node, ast.ImportFrom) and not node.level:
                imported[(node.module or "").partition(".")[0]] = file
    outside = set(imported) - set(sys.stdlib_module_names) - own

    missing = {n for n in outside if names.get(n, n).replace("-", "_") not in declared}
    assert {name: imported[name] for name in missing} == {}
