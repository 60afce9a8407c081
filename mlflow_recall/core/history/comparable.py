"""Which recorded fine-tunings can be compared, and by which recipe each model was trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mlflow_recall.core.history.recipes import FULL, MODES, Recipe
from mlflow_recall.core.history.records import Member, Record
from mlflow_recall.errors import HistoryError

#: models that a note lists
_NAMED = 5


@dataclass(frozen=True)
class ComparableRecords:
    """Records that can be compared, and what was left out, for people."""

    records: tuple[Record, ...]
    #: model -> the recipe that all its records were trained with
    recipes: Mapping[str, Recipe]
    notes: tuple[str, ...] = ()
    #: mode of all these recipes
    mode: str = FULL
    #: whether that is the mode of most records, which tags and stored defaults were derived from
    is_usual_mode: bool = True


def select_comparable(
    records: Sequence[Record],
    modality: str | None = None,
    *,
    members: Iterable[Member] = (),
    target: str | None = None,
    mode: str | None = None,
) -> ComparableRecords:
    """Return the complete records of one modality that can be compared in one matrix.

    Only the records of one mode are kept, since how models compare in one is no evidence of how
    they compare in another. Of every model, only the records of its current version and of its most
    frequent recipe are kept; recipes that differ in the seed alone are the same. The target's own
    records, which would reveal the answer, are left out.

    Args:
        records: Records of one metric, or of the primary metrics.
        modality: ``text`` or ``image``; None or empty: any.
        members: Models of the zoo, for their versions; other models keep all of theirs.
        target: Digest of the dataset that a model is selected for; None: no dataset is left out.
        mode: Mode of the recipes; None: that of most records.

    Raises:
        HistoryError: Nothing of that modality and mode is left.
    """
    kept = [r for r in records if r.is_complete and (not modality or r.modality == modality)]
    notes = []
    if partial := sum(not r.is_complete for r in records):
        notes.append(f"{partial} partial curves are not used")
    if target and any(r.dataset_digest == target for r in kept):
        known = [r for r in kept if r.dataset_digest == target]
        kept = [r for r in kept if r.dataset_digest != target]
        notes.append(f"{len(known)} records of the target itself are not used")
    version = {member.name: member.version for member in members}
    current = [
        r
        for r in kept
        if not r.model_version or version.get(r.model, r.model_version) == r.model_version
    ]
    if count := len(kept) - len(current):
        older = Counter(r.model for r in kept) - Counter(r.model for r in current)
        notes.append(
            f"{count} records of other model versions are not used: {_describe_counts(older)}"
        )
    kept = current
    if not kept:
        recorded = sorted({r.modality for r in records if r.is_complete and r.modality})
        raise HistoryError(
            f"history: expected finished benchmark runs of modality {modality or 'any'!r}, "
            f"got {'; '.join(notes) or 'those of ' + (', '.join(recorded) or 'none')}: run "
            f"`mlflow-recall benchmark` on {modality or 'some'} datasets first"
        )
    usual = most_common_mode(kept)
    mode = mode or usual
    if others := other_modes(kept, mode):
        notes.append(others)
    kept = [r for r in kept if mode_of(r) == mode]
    if not kept:
        raise HistoryError(
            f"history: expected finished benchmark runs of mode {mode}, got {'; '.join(notes)}: "
            f"run `mlflow-recall benchmark --mode {mode}` first, or select without --mode"
        )
    main = _most_frequent((r.model, recipe_without_seed(r)) for r in kept)
    same = [r for r in kept if recipe_without_seed(r) == main[r.model]]
    if rare := minority_recipes(kept):
        notes.append(rare)
    texts = _most_frequent((r.model, r.recipe) for r in same)
    recipes = {model: Recipe.from_json(text) for model, text in texts.items() if text}
    return ComparableRecords(tuple(same), recipes, tuple(notes), mode, mode == usual)


def mode_of(record: Record) -> str:
    """Return the mode that a record was trained in; where its recipe is unknown, ``full``."""
    return _mode(record.recipe)


def most_common_mode(records: Iterable[Record]) -> str:
    """Return the mode of most records; of equally frequent ones the first of ``MODES``."""
    counts = Counter(mode_of(record) for record in records)
    return max(MODES, key=lambda mode: counts[mode])


def other_modes(records: Iterable[Record], mode: str) -> str:
    """Describe the records of other modes than one in a line; empty without any."""
    others = Counter(mode_of(record) for record in records)
    del others[mode]
    if not others:
        return ""
    return f"{others.total()} records of other modes are not used: {_describe_counts(others)}"


def minority_recipes(records: Iterable[Record]) -> str:
    """Describe the models with records of a rarer recipe in one line; empty without any.

    Scores of one model by two recipes cannot be compared, and neither can records of this package
    and adopted ones, whose recipe is unknown: ``select_comparable`` keeps the more frequent recipe.
    """
    pairs = [(record.model, recipe_without_seed(record)) for record in records]
    main, total = _most_frequent(pairs), Counter(model for model, _ in pairs)
    rare = Counter(model for model, recipe in pairs if recipe != main[model])
    if not rare:
        return ""
    return f"{rare.total()} records of rarer recipes are not used: {_describe_counts(rare, total)}"


def _describe_counts(counts: Counter[str], total: Mapping[str, int] | None = None) -> str:
    """Describe the count of each model, the largest first."""
    described = [
        f"{model} {count}" + (f" of {total[model]}" if total else "")
        for model, count in counts.most_common(_NAMED)
    ]
    more = f" and {len(counts) - _NAMED} more models" if len(counts) > _NAMED else ""
    return f"{', '.join(described)}{more}"


def recipe_without_seed(record: Record) -> str:
    """Return the recipe of a record without its seed, as JSON; empty where it is unknown."""
    return _without_seed(record.recipe)


@lru_cache(maxsize=4096)
def _mode(recipe: str) -> str:
    return Recipe.from_json(recipe).mode if recipe else FULL


@lru_cache(maxsize=4096)
def _without_seed(recipe: str) -> str:
    return Recipe.from_json(recipe).without_seed.to_json() if recipe else ""


def _most_frequent(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the most frequent value of each key; of equally frequent ones the first in order."""
    counts: dict[str, Counter[str]] = {}
    for key, value in pairs:
        counts.setdefault(key, Counter())[value] += 1
    return {key: max(sorted(count), key=count.__getitem__) for key, count in counts.items()}
