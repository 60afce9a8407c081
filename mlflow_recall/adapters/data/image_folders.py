"""Folders of images: the folders say the classes, and where there are splits, the splits.

Classes are the folders of the first level, as in torchvision and Keras; pictures in deeper folders
belong to them. Where the folders of the first level are splits (``train/cat/1.png``), classes are
the folders in them. The name of a file says nothing.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from mlflow_recall.adapters.data.decoding import FORMATS
from mlflow_recall.adapters.data.split_names import SPLIT_NAMES, find_split
from mlflow_recall.core.formatting import count_of, join_names
from mlflow_recall.errors import DatasetError
from mlflow_recall.limits import MAX_DEPTH, MAX_ENTRIES

#: why a file is not used
NOT_A_PICTURE = "not a picture"
UNREAD_FORMAT = "format that is not read"
METADATA = "metadata file"
HIDDEN = "hidden file"
NO_CLASS = "not in a class folder"
LINK_OUT = "link that leaves the folder"
LINK_TO_FOLDER = "link to a folder"
NOT_A_FILE = "not a file"
BAD_NAME = "name that is not UTF-8"

#: endings of pictures that Pillow does not know or that it cannot read everywhere
_UNREAD_ENDINGS = frozenset(
    {".avif", ".heic", ".heif", ".hif", ".jxl", ".svg", ".eps", ".psd"}
    | {".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"}
)
#: stem of the files that ``datasets`` reads beside pictures
_METADATA_STEM = "metadata"
#: folder of resource forks that macOS puts into archives
_MAC_FOLDER = "__MACOSX"

#: names of the folders from the root to a file, and its own name
_Parts: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """The pictures of a folder, and an account of all its other files."""

    #: split -> pictures with their classes, in the order of their paths; without splits it is train
    splits: Mapping[str, tuple[tuple[Path, str], ...]]
    #: reason -> files that are not used, in the order of their paths
    left_out: Mapping[str, tuple[Path, ...]]
    #: folders of classes without a picture that is read
    empty_classes: tuple[str, ...]
    #: how the folders were understood where that may surprise, a line each
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Tree:
    """Everything below a folder; a picture in a format that is not read is a picture here."""

    root: Path
    #: all folders, and all pictures, in the order of their paths
    folders: Sequence[_Parts]
    pictures: Sequence[_Parts]
    #: files that are not used -> the reason
    left_out: Mapping[_Parts, str]
    #: folders with a picture of their own
    direct: Set[_Parts]
    #: folder -> names of its folders that hold pictures at any depth, sorted
    children: Mapping[_Parts, Sequence[str]]


def list_image_folder(folder: Path) -> ImageFolder:
    """Return the pictures of a folder by split, with their classes, and what is left out.

    No file is opened.

    Args:
        folder: Folder with a folder for each class, or with such folders in folders that have the
            names of splits, in any case.

    Raises:
        DatasetError: It holds no pictures in class folders, is too large, cannot be listed, or its
            folders can be understood in more than one way.
    """
    tree = _scan(folder)
    base = _skip_wrappers(tree)
    split_folders = _split_folders(tree, base)
    #: folder of class folders -> split
    parents = {(*base, name): split for name, split in split_folders.items()} or {base: "train"}
    level = len(base) + bool(split_folders)
    used: dict[str, list[_Parts]] = {split: [] for split in parents.values()}
    left_out = dict(tree.left_out)
    for picture in tree.pictures:
        if picture[:level] not in parents or len(picture) < level + 2:
            left_out.setdefault(picture, NO_CLASS)
        elif picture not in left_out:
            used[parents[picture[:level]]].append(picture)
    if not any(used.values()):
        raise DatasetError(
            f"{folder}: expected a folder of images with one folder a class, or one that "
            f"Dataset.save_to_disk wrote, got {_describe(left_out.values())}"
        )
    pictures = [picture for of_split in used.values() for picture in of_split]
    by_reason: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(left_out, key="/".join):
        by_reason[left_out[file]].append(tree.root.joinpath(*file))
    return ImageFolder(
        splits={
            split: tuple((tree.root.joinpath(*picture), picture[level]) for picture in pictures)
            for split, pictures in used.items()
        },
        left_out={reason: tuple(files) for reason, files in sorted(by_reason.items())},
        empty_classes=tuple(_empty_classes(tree, parents, pictures)),
        notes=tuple(_notes(base, level, pictures)),
    )


def _scan(folder: Path) -> _Tree:
    """Return everything below a folder; links to folders are not followed."""
    root = folder.resolve()
    folders: list[_Parts] = []
    pictures: list[_Parts] = []
    left_out: dict[_Parts, str] = {}
    pending: list[_Parts] = [()]
    count = 0
    while pending:
        parent = pending.pop()
        for entry in _entries(root.joinpath(*parent)):
            parts, count = (*parent, entry.name), count + 1
            if count > MAX_ENTRIES or len(parts) > MAX_DEPTH:
                raise DatasetError(
                    f"{folder}: expected at most {MAX_ENTRIES:,} files, and folders at most "
                    f"{MAX_DEPTH} deep, got more: name the folder of one dataset"
                )
            if entry.is_dir(follow_symlinks=False):
                pending.append(parts)
                folders.append(parts)
                continue
            reason = _reason_of_place(parts, entry, root) or _reason_of_name(entry.name)
            if reason:
                left_out[parts] = reason
            if reason in (None, UNREAD_FORMAT):
                pictures.append(parts)
    direct = {picture[:-1] for picture in pictures}
    children: dict[_Parts, set[str]] = defaultdict(set)
    for parts in direct:
        for level, name in enumerate(parts):
            children[parts[:level]].add(name)
    return _Tree(
        root=root,
        folders=sorted(folders, key="/".join),
        pictures=sorted(pictures, key="/".join),
        left_out=left_out,
        direct=direct,
        children={parts: sorted(names) for parts, names in children.items()},
    )


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise DatasetError(f"{folder}: expected a folder, got: {error.strerror}") from error


def _reason_of_place(parts: _Parts, entry: os.DirEntry[str], root: Path) -> str | None:
    """Return why a file is not used because of where it lies or leads; None if it may be."""
    if _is_hidden(parts):
        return HIDDEN
    if any("\udc80" <= character <= "\udcff" for character in "".join(parts)):
        return BAD_NAME
    if entry.is_symlink():
        target = Path(os.path.realpath(entry.path))
        if not target.is_relative_to(root):
            return LINK_OUT
        if target.is_dir():
            return LINK_TO_FOLDER
    return None if entry.is_file() else NOT_A_FILE


def _is_hidden(parts: _Parts) -> bool:
    return any(name.startswith(".") or name == _MAC_FOLDER for name in parts)


def _reason_of_name(name: str) -> str | None:
    """Return why a file of this name is not used; None for pictures."""
    path = Path(name)
    if path.suffix.lower() in _read_endings():
        return None
    if path.stem.lower() == _METADATA_STEM:
        return METADATA
    return UNREAD_FORMAT if path.suffix.lower() in _UNREAD_ENDINGS else NOT_A_PICTURE


@cache
def _read_endings() -> frozenset[str]:
    """Return the endings of the formats that ``decode_image`` reads, in lower case."""
    formats = Image.registered_extensions()
    readable = FORMATS & Image.OPEN.keys()
    return frozenset(ending for ending, name in formats.items() if name in readable)


def _skip_wrappers(tree: _Tree) -> _Parts:
    """Return the folder whose folders are classes or splits.

    It is the root, or where the root holds nothing but one folder of folders, that one, and so on:
    archives often wrap a dataset into a folder.
    """
    base: _Parts = ()
    while base not in tree.direct and len(tree.children.get(base, ())) == 1:
        name = tree.children[base][0]
        if find_split(name) or (*base, name) in tree.direct:
            break
        base = (*base, name)
    return base


def _split_folders(tree: _Tree, base: _Parts) -> dict[str, str]:
    """Return folder -> split; empty where the folders in ``base`` are classes.

    Folders are splits if each has the name of one, and one of them holds folders with pictures.
    """
    names = tree.children.get(base, ())
    where = tree.root.joinpath(*base)
    named = [name for name in names if find_split(name)]
    others = [name for name in names if not find_split(name)]
    splits = [name for name in named if (*base, name) in tree.children]
    if splits and others:
        raise DatasetError(
            f"{where}: expected splits only or classes only, got the split {splits[0]!r} beside "
            f"{join_names(map(repr, others), 3)}: rename it, or move what is no split elsewhere"
        )
    if named and not splits and not others:
        raise DatasetError(
            f"{where}: expected a folder for each class in {join_names(map(repr, named), 3)}, got "
            "pictures: put those of each class into a folder of its own"
        )
    for name in others:
        is_nested = (*base, name) in tree.children and (*base, name) not in tree.direct
        if is_nested and (similar := set(re.split(r"[\W\d_]+", name.lower())) & set(SPLIT_NAMES)):
            raise DatasetError(
                f"{where}: expected a split or a class, got {name!r}, which may be either: rename "
                f"it to {min(similar)!r}, or put its pictures into it directly"
            )
    folders: dict[str, str] = {}
    for name in splits:
        split = str(find_split(name))
        if split in folders.values():
            same = [other for other in splits if find_split(other) == split]
            raise DatasetError(
                f"{where}: expected one folder of the {split} split, got "
                f"{join_names(map(repr, same))}: merge them, or rename one"
            )
        folders[name] = split
    return folders


def _empty_classes(
    tree: _Tree, parents: Mapping[_Parts, str], used: Sequence[_Parts]
) -> Iterator[str]:
    """Yield the folders of classes without a picture that is used, with that of their split."""
    level = len(next(iter(parents))) + 1
    filled = {picture[:level] for picture in used}
    for parts in tree.folders:
        is_class = len(parts) == level and parts[:-1] in parents
        if is_class and parts not in filled and not _is_hidden(parts):
            yield "/".join(parts)


def _notes(base: _Parts, level: int, used: Sequence[_Parts]) -> Iterator[str]:
    """Yield what may surprise about how the folders were understood, a line each."""
    if base:
        yield f"classes or splits are the folders in {'/'.join(base)}, the only one"
    if deeper := [picture for picture in used if len(picture) > level + 2]:
        classes = sorted({picture[level] for picture in deeper})
        yield (
            f"{count_of(len(deeper), 'picture')} in deeper folders: the class is the upper folder, "
            f"{join_names(classes, 5)}"
        )


def _describe(reasons: Iterable[str]) -> str:
    """Return how many files are left out for each reason; ``no files`` without any."""
    counts = sorted(Counter(reasons).items())
    return ", ".join(f"{count_of(n, 'file')} ({reason})" for reason, n in counts) or "no files"
