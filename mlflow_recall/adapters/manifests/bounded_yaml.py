"""YAML of anybody: read within limits, without tags that construct objects, and each key once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mlflow_recall import limits
from mlflow_recall.errors import ConfigError

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _UniqueKeyLoader(_SafeLoader):  # type: ignore[misc]
    """A safe loader that refuses a key which stands twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        keys: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in keys:
                    raise yaml.constructor.ConstructorError(
                        problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                    )
                keys.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def _construct_integer(loader: Any, node: yaml.ScalarNode) -> Any:
    """Return an integer that can be printed: YAML has notations for far larger ones."""
    if len(node.value) > limits.MAX_NUMBER_LENGTH:
        raise yaml.constructor.ConstructorError(
            problem=f"an integer of {len(node.value)} characters", problem_mark=node.start_mark
        )
    return _SafeLoader.construct_yaml_int(loader, node)


_UniqueKeyLoader.add_constructor("tag:yaml.org,2002:int", _construct_integer)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        ConfigError: There is no such file, it is no YAML, or it is beyond a limit.
    """
    try:
        if not path.is_file():
            got = "a folder" if path.is_dir() else "none: no such file"
            raise ConfigError(f"{path}: expected a YAML file, got {got}")
        if (size := path.stat().st_size) > limits.MAX_YAML_BYTES:
            raise ConfigError(f"{path}: expected at most {limits.MAX_YAML_BYTES} bytes, got {size}")
        text = path.read_text(encoding="utf-8-sig")
        _check_limits(text)
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a safe loader
    except ConfigError:
        raise
    except Exception as error:  # a scalar of a known tag may be anything: `!!int x`
        raise ConfigError(f"{path}: cannot be read as YAML: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return what is wrong, and in which line if the parser knows."""
    mark = getattr(error, "problem_mark", None)
    if isinstance(error, yaml.MarkedYAMLError) and mark is not None:
        return f"line {mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())[:300]


def _check_limits(text: str) -> None:
    """Check nesting, and the number of values where each alias counts as what it stands for.

    Raises:
        ValueError: The text is beyond a limit, or an alias stands for itself.
    """
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and values before it
    values = 0
    for event in yaml.parse(text, Loader=_SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ValueError(f"line {line}: the alias {event.anchor!r} stands for no value yet")
            values += sizes[event.anchor]
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, values))
            values += 1
            if len(open_nodes) > limits.MAX_NESTING:
                raise ValueError(f"line {line}: more than {limits.MAX_NESTING} levels of nesting")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = values - before
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if event.anchor:
                sizes[event.anchor] = 1 + len(event.value) // 100
        if values > limits.MAX_YAML_VALUES:
            raise ValueError(f"line {line}: more than {limits.MAX_YAML_VALUES} values with aliases")
