"""Tables of policies, recommenders, scores and libraries, to which installed packages add rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Generic, TypeVar, cast

from mlflow_recall.errors import ConfigError, unknown_name

Row = TypeVar("Row")


class PluginTable(Mapping[str, Row], Generic[Row]):
    """Rows by name: the built-in ones, and those of an entry-point group.

    A row of another package is loaded when it is asked for by name. A built-in row has precedence
    over an installed one of the same name. Whoever lists the table, such as a help text or the
    back-test, sees both kinds.

    Args:
        kind: What a row is called in messages, such as ``policy``.
        group: Name of the entry-point group, such as ``mlflow_recall.policies``.
        built_in: Rows by name; an ``EntryPoint`` in place of a row is loaded on demand.
        row_type: Class of a row; installed rows of another class are refused. By default any.

    Example:
        >>> colors = PluginTable("color", "mlflow_recall.example_colors", {"red": "#f00"})
        >>> colors["red"], list(colors)
        ('#f00', ['red'])
    """

    def __init__(
        self,
        kind: str,
        group: str,
        built_in: Mapping[str, Row | EntryPoint],
        row_type: type | None = None,
    ) -> None:
        self.kind = kind
        self.group = group
        self._built_in = MappingProxyType(dict(built_in))
        self._row_type = row_type

    def __getitem__(self, name: str) -> Row:
        """Return the row of that name.

        Raises:
            ConfigError: There is none, or an installed one cannot be loaded or is of another kind.
        """
        entry = self._built_in.get(name)
        if entry is not None and not isinstance(entry, EntryPoint):
            return entry
        if entry is None:  # the package importlib_metadata has a class of its own for these
            entry = self._installed().get(name)
        if entry is None:
            raise ConfigError(unknown_name(self.kind, name, self))
        try:
            row = entry.load()
        except Exception as error:  # another package may raise anything while it is imported
            raise ConfigError(
                f"{self.kind} {name!r}: expected to import {entry.value}, got "
                f"{type(error).__name__}: {error}: correct or uninstall the package"
            ) from error
        if self._row_type is not None and not isinstance(row, self._row_type):
            raise ConfigError(
                f"{self.kind} {name!r}: expected {entry.value} to be a {self._row_type.__name__}, "
                f"got {type(row).__name__}: correct the package that installs it"
            )
        return cast("Row", row)

    def __contains__(self, name: object) -> bool:
        return name in self._built_in or name in self._installed()

    def __iter__(self) -> Iterator[str]:
        """Yield names of the built-in rows in their order, then of the installed ones, sorted."""
        yield from self._built_in
        yield from sorted(set(self._installed()) - set(self._built_in))

    def __len__(self) -> int:
        return len({*self._built_in, *self._installed()})

    def describe(self, text_of: Callable[[Row], str]) -> str:
        """Return every name with a text about its row, for help texts.

        Rows with an empty text are listed by name alone, and rows that cannot be loaded with the
        reason, so that they do not hide the others.
        """
        return "; ".join(self._describe_row(name, text_of) for name in self)

    def _describe_row(self, name: str, text_of: Callable[[Row], str]) -> str:
        try:
            text = text_of(self[name])
        except ConfigError as error:
            text = f"cannot be loaded ({error})"
        return f"{name}: {text}" if text else name

    def _installed(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=self.group)}
