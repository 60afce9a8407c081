"""Facts of the tables of plugins: their order, their precedence, and what they refuse."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from mlflow_recall.core import plugins
from mlflow_recall.core.plugins import PluginTable
from mlflow_recall.core.policies import POLICIES, PolicySpec
from mlflow_recall.core.recommend import RECOMMENDERS, RecommenderSpec
from mlflow_recall.core.scores import SCORES, Score
from mlflow_recall.errors import ConfigError

GROUP = "mlflow_recall.test_rows"


@dataclass(frozen=True)
class Row:
    """A row of the test's table."""

    summary: str


ALPHA, BETA, OWN = Row("first"), Row("second"), Row("of another package")
NOT_A_ROW = "text"


def installed(name: str, attribute: str) -> EntryPoint:
    """An entry point that points at a name of this module."""
    return EntryPoint(name, f"{__name__}:{attribute}", GROUP)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> PluginTable[Row]:
    """Two built-in rows, and five entry points, one of the same name as a built-in row."""
    entries = [
        installed("zeta", "OWN"),
        installed("alpha", "OWN"),
        installed("gamma", "OWN"),
        installed("wrong", "NOT_A_ROW"),
        installed("gone", "NOT_THERE"),
    ]

    def entry_points(*, group: str) -> list[EntryPoint]:
        return [entry for entry in entries if entry.group == group]

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    return PluginTable("color", GROUP, {"beta": BETA, "alpha": ALPHA}, Row)


def test_built_in_rows_come_in_their_order_then_installed_ones_by_name(
    table: PluginTable[Row],
) -> None:
    """The order of built-in rows has a meaning, that of packages in an environment has none."""
    assert list(table) == ["beta", "alpha", "gamma", "gone", "wrong", "zeta"]
    assert len(table) == 6


def test_a_built_in_row_has_precedence_over_an_installed_one(table: PluginTable[Row]) -> None:
    """No package can change what a documented name does."""
    assert table["alpha"] is ALPHA


def test_an_installed_row_is_loaded_by_its_name(table: PluginTable[Row]) -> None:
    assert table["gamma"] is OWN
    assert "gamma" in table


def test_rows_of_packages_are_not_loaded_before_they_are_needed(table: PluginTable[Row]) -> None:
    """One broken package must not break the names of the others."""
    assert "gone" in table
    assert table["zeta"] is OWN
    with pytest.raises(
        ConfigError, match=r"^color 'gone': expected to import .*NOT_THERE, got Attr"
    ):
        table["gone"]


def test_an_unknown_name_lists_the_known_ones(table: PluginTable[Row]) -> None:
    message = "unknown color 'red': expected one of alpha, beta, gamma, gone, wrong, zeta"

    assert "red" not in table
    with pytest.raises(ConfigError, match=f"^{message}$"):
        table["red"]


def test_a_row_of_another_class_is_refused_with_where_it_came_from(
    table: PluginTable[Row],
) -> None:
    message = f"color 'wrong': expected {__name__}:NOT_A_ROW to be a Row, got str: correct the"

    with pytest.raises(ConfigError, match=message):
        table["wrong"]


def test_an_entry_point_may_stand_for_a_built_in_row() -> None:
    """A built-in row with a heavy import is loaded on demand."""
    lazy: PluginTable[Row] = PluginTable(
        "color", "mlflow_recall.no_rows", {"heavy": installed("x", "OWN")}, Row
    )

    assert lazy["heavy"] is OWN
    assert list(lazy) == ["heavy"]


def test_without_a_row_type_every_row_is_taken() -> None:
    names: PluginTable[str] = PluginTable("name", GROUP, {"x": installed("x", "NOT_A_ROW")})

    assert names["x"] == NOT_A_ROW


def test_rows_are_described_for_help_texts() -> None:
    rows: PluginTable[Row] = PluginTable("color", GROUP, {"a": ALPHA, "b": Row("")})

    assert rows.describe(lambda row: row.summary) == "a: first; b"


def test_a_row_that_cannot_be_loaded_does_not_hide_the_others(table: PluginTable[Row]) -> None:
    """A broken package is named where the help lists it; everything else stays usable."""
    text = table.describe(lambda row: row.summary)

    assert text.startswith("beta: second; alpha: first; gamma: of another package; gone: cannot")
    assert text.endswith("; zeta: of another package")


def test_the_groups_of_the_three_tables_are_those_of_the_documentation() -> None:
    """Installed packages name these groups and classes."""
    tables: tuple[PluginTable[Any], ...] = (POLICIES, RECOMMENDERS, SCORES)

    assert [table.group for table in tables] == [
        "mlflow_recall.policies",
        "mlflow_recall.recommenders",
        "mlflow_recall.scores",
    ]
    for rows, row_type in zip(tables, (PolicySpec, RecommenderSpec, Score), strict=True):
        assert all(isinstance(row, row_type) for row in rows.values())
