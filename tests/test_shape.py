"""Names and places of modules: no two of one name meet in one module, and tests mirror the core."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: import name -> folder in the source tree
PACKAGES = {
    "mlflow_recall": ROOT / "mlflow_recall",
    "mlflow_recall_plugins": ROOT / "plugins",
    "mlflow_recall_example": ROOT / "mlruns_example",
}
#: import name of a module -> its file; packages go by their ``__init__.py``
MODULES = {
    ".".join((package, *file.relative_to(folder).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): file
    for package, folder in PACKAGES.items()
    for file in sorted(folder.rglob("*.py"))
}


def imports(file: Path) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports of a module, those in the bodies of functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node


def imported_modules(file: Path) -> set[str]:
    """Return the modules of this project that a module imports, whole or a name of them."""
    names: set[str] = set()
    for node in imports(file):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif node.module and not node.level:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                names.add(whole if whole in MODULES else node.module)
    return names & MODULES.keys()


@pytest.mark.parametrize("module", MODULES)
def test_no_two_imported_modules_have_the_same_last_name(module: str) -> None:
    """``select.f`` must not be one of two modules, depending on the line above."""
    by_name: dict[str, list[str]] = {}
    for imported in sorted(imported_modules(MODULES[module])):
        by_name.setdefault(imported.rpartition(".")[2], []).append(imported)

    assert {name: paths for name, paths in by_name.items() if len(paths) > 1} == {}


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("mlflow_recall.")])
def test_every_import_is_absolute(module: str) -> None:
    """The rules of this file read absolute imports alone."""
    assert [ast.unparse(n) for n in imports(MODULES[module]) if getattr(n, "level", 0)] == []


@pytest.mark.parametrize(
    "module", [name for name in MODULES if f"{name}.".startswith("mlflow_recall.cli.")]
)
def test_the_command_line_renames_nothing_that_it_imports(module: str) -> None:
    """A name that must be changed on import is a name that clashes."""
    renamed = [
        ast.unparse(node) for node in imports(MODULES[module]) if any(a.asname for a in node.names)
    ]

    assert renamed == []


@pytest.mark.parametrize(
    "module",
    [
        name
        for name, file in MODULES.items()
        if name.startswith("mlflow_recall.core.") and file.name != "__init__.py"
    ],
)
def test_every_module_of_the_core_has_its_tests_in_the_mirrored_folder(module: str) -> None:
    """``core/FOLDER/NAME.py`` has ``tests/core/FOLDER/test_NAME.py``.

    Test modules need names of their own, so ``test_PREFIX_NAME.py`` is accepted too.
    """
    _, _, *folders, name = module.split(".")
    folder = ROOT.joinpath("tests", "core", *folders)

    assert [*folder.glob(f"test_{name}.py"), *folder.glob(f"test_*_{name}.py")] != []


def test_test_modules_have_names_of_their_own() -> None:
    """Pytest imports them by their last name alone, where folders are no packages."""
    files = [*(ROOT / "tests").rglob("*.py")]
    names = [file.name for file in files]

    assert sorted(str(file) for file in files if names.count(file.name) > 1) == []
