"""Folders say classes and splits, and every file is used or counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.adapters.data import image_folders
from mlflow_recall.adapters.data.image_folders import ImageFolder, list_image_folder
from mlflow_recall.errors import DatasetError


def listed(root: Path, files: Iterable[str]) -> ImageFolder:
    """The listing of a folder with these empty files; nothing opens them."""
    for name in files:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return list_image_folder(root)


def classes(folder: ImageFolder) -> dict[str, dict[str, int]]:
    """Split -> class -> pictures."""
    return {
        split: dict(Counter(label for _, label in pictures))
        for split, pictures in folder.splits.items()
    }


def reasons(folder: ImageFolder) -> dict[str, int]:
    return {reason: len(files) for reason, files in folder.left_out.items()}


def test_classes_are_folders_and_file_names_say_nothing(tmp_path: Path) -> None:
    """``train_0.png`` and ``test.png`` are pictures as the others are."""
    names = ["train_0.png", "img_1.png", "test.png", "validation-2.jpg"]
    folder = listed(tmp_path, [f"{c}/{name}" for c in ("bus", "car") for name in names])

    assert classes(folder) == {"train": {"bus": 4, "car": 4}}
    assert (folder.left_out, folder.notes) == ({}, ())


def test_rows_are_in_the_order_of_datasets(tmp_path: Path) -> None:
    """Digests depend on the order, and recorded cells on digests."""
    import datasets
    from tiny import tiny_images

    tiny_images(tmp_path, 12)
    (tmp_path / "warm").rename(tmp_path / "cold-1")  # "-" sorts before "/"
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path))["train"]
    names = loaded.features["label"].names
    expected = [
        (Path(row["image"]["path"]), names[row["label"]])
        for row in loaded.cast_column("image", datasets.Image(decode=False))
    ]

    assert list(list_image_folder(tmp_path).splits["train"]) == expected


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [("train", "val", "test"), ("Training", "Dev", "TESTING"), ("TRAIN", "valid", "Test")],
)
def test_splits_are_folders_of_classes_in_any_case(
    tmp_path: Path, train: str, validation: str, test: str
) -> None:
    """Archives write them in all these ways."""
    splits = (train, validation, test)
    folder = listed(tmp_path, [f"{split}/{c}/1.png" for split in splits for c in ("a", "b")])

    assert classes(folder) == {s: {"a": 1, "b": 1} for s in ("train", "validation", "test")}
    assert folder.left_out == {}


@pytest.mark.parametrize("name", ["train", "Test", "dev", "val"])
def test_a_class_may_have_the_name_of_a_split(tmp_path: Path, name: str) -> None:
    """A folder of pictures beside other such folders is a class, whatever its name."""
    folder = listed(tmp_path, [f"{c}/{i}.png" for c in (name, "bus", "tram") for i in range(3)])

    assert classes(folder) == {"train": {name: 3, "bus": 3, "tram": 3}}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["train/cat/1.png", "bus/1.png"], "splits only or classes only, got the split 'train'"),
        (["train/1.png", "test/2.png"], "expected a folder for each class in 'test', 'train'"),
        (["train/1.png"], "expected a folder for each class in 'train', got pictures"),
        (["train/a/1.png", "Training/a/2.png"], "one folder of the train split, got 'Training'"),
        (["val/a/1.png", "dev/a/2.png"], "one folder of the validation split, got 'dev', 'val'"),
        (["seg_train/a/1.png", "seg_test/a/1.png"], "'seg_test', which may be either"),
        (["Training Set/a/1.png", "x/1.png"], "rename it to 'training'"),
        (["1.png", "2.png"], "one folder a class, .* got 2 files \\(not in a class folder\\)"),
        (["a/1.heic"], "one folder a class, .* got 1 file \\(format that is not read\\)"),
        (["a/notes.txt", "b.csv"], "one folder a class, .* got 2 files \\(not a picture\\)"),
        ([], "one folder a class, .* got no files"),
    ],
)
def test_what_can_be_understood_in_two_ways_is_refused(
    tmp_path: Path, files: list[str], message: str
) -> None:
    """A guess would be trained on without a word."""
    with pytest.raises(DatasetError, match=message) as error:
        listed(tmp_path, files)

    assert "\n" not in str(error.value)


def test_every_other_file_is_counted_with_its_reason(tmp_path: Path) -> None:
    """The account of a folder leaves no file out."""
    pictures = ["a/1.png", "a/2.JPG", "b/1.webp"]
    hidden = ["a/.hidden.png", ".cache/x/1.png", "__MACOSX/a/1.png"]
    unread = ["b/photo.HEIC", "b/raw.nef", "b/page.eps", "b/scan.svg"]
    others = ["stray.png", "metadata.csv", "b/Metadata.jsonl", "a/readme.txt", "no_ending"]
    folder = listed(tmp_path, [*pictures, *hidden, *unread, *others])

    assert classes(folder) == {"train": {"a": 2, "b": 1}}
    assert reasons(folder) == {
        "hidden file": 3,
        "not in a class folder": 1,
        "metadata file": 2,
        "not a picture": 2,
        "format that is not read": 4,
    }


def test_pictures_beside_the_class_folders_of_a_split_have_no_class(tmp_path: Path) -> None:
    """Competitions hand out a test split without labels."""
    folder = listed(tmp_path, ["train/a/1.png", "train/b/1.png", "train/2.png", "test/3.png"])

    assert classes(folder) == {"train": {"a": 1, "b": 1}}
    assert reasons(folder) == {"not in a class folder": 2}


def test_a_class_of_which_nothing_is_read_is_named(tmp_path: Path) -> None:
    """Otherwise a class in HEIC, or an empty one, vanishes."""
    (tmp_path / "empty").mkdir()
    (tmp_path / ".git").mkdir()
    folder = listed(tmp_path, ["a/1.png", "b/1.png", "phone/1.heic", "docs/a.xml"])

    assert classes(folder) == {"train": {"a": 1, "b": 1}}
    assert folder.empty_classes == ("docs", "empty", "phone")


def test_pictures_in_deeper_folders_belong_to_the_upper_one(tmp_path: Path) -> None:
    """As in torchvision and Keras; it is said, because other readers take the lower folder."""
    folder = listed(tmp_path, ["ok/cam1/1.png", "ok/cam2/1.png", "bad/1.png", "bad/cam1/x/1.png"])

    assert classes(folder) == {"train": {"ok": 2, "bad": 2}}
    assert folder.notes == ("3 pictures in deeper folders: the class is the upper folder, bad, ok",)


@pytest.mark.parametrize("inside", ["", "train/"])
def test_a_folder_around_the_dataset_is_skipped(tmp_path: Path, inside: str) -> None:
    """Archives often hold one folder with everything."""
    files = [f"pets-v2/images/{inside}{c}/1.png" for c in ("cat", "dog")]
    folder = listed(tmp_path, [*files, "LICENSE"])

    assert classes(folder) == {"train": {"cat": 1, "dog": 1}}
    assert folder.notes == ("classes or splits are the folders in pets-v2/images, the only one",)


_FOLDERS = st.sampled_from(["train", "Test", "val", "cat", "dog", "seg_train", ".git", "x/y", "."])
_FILES = st.sampled_from(["1.png", "train_2.jpg", "3.heic", "notes.txt", ".4.png", "metadata.csv"])


@given(st.sets(st.tuples(_FOLDERS, _FOLDERS, _FILES), min_size=1, max_size=12))
def test_every_file_of_any_folder_is_used_once_or_left_out_once(
    tmp_path_factory: pytest.TempPathFactory, names: set[tuple[str, str, str]]
) -> None:
    """An account that does not add up hides files; what is ambiguous is refused."""
    root = tmp_path_factory.mktemp("tree")
    try:
        folder = listed(root, ["/".join(parts) for parts in names])
    except DatasetError:
        return

    used = [path for pictures in folder.splits.values() for path, _ in pictures]
    left_out = [path for files in folder.left_out.values() for path in files]
    files = [path for path in root.resolve().rglob("*") if path.is_file()]
    assert sorted([*used, *left_out]) == sorted(files)
    assert all(label in path.parts for pics in folder.splits.values() for path, label in pics)


def test_links_are_followed_inside_of_the_folder_only(tmp_path: Path) -> None:
    """A dataset of somebody else must not read this machine's other files."""
    (tmp_path / "secret.png").touch()
    root = tmp_path / "root"
    listed(root, ["a/1.png", "b/1.png"])
    (root / "a/inside.png").symlink_to(root / "b/1.png")
    (root / "a/out.png").symlink_to(tmp_path / "secret.png")
    (root / "a/relative.png").symlink_to("../../secret.png")
    (root / "a/broken.png").symlink_to(root / "b/none.png")
    (root / "b/loop").symlink_to(root)
    (root / "c").symlink_to(tmp_path)
    os.mkfifo(root / "a/pipe.png")

    folder = list_image_folder(root)

    assert classes(folder) == {"train": {"a": 2, "b": 1}}
    assert reasons(folder) == {
        "link that leaves the folder": 3,
        "link to a folder": 1,
        "not a file": 2,
    }


def test_names_that_are_no_text_are_left_out(tmp_path: Path) -> None:
    """Such a class has no name that could be written into a run."""
    listed_bytes = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(listed_bytes)  # noqa: PTH102 - a path of bytes
    with open(listed_bytes + b"/1.png", "wb"):  # noqa: PTH123
        pass

    folder = listed(tmp_path, ["a/1.png", "b/1.png"])

    assert classes(folder) == {"train": {"a": 1, "b": 1}}
    assert reasons(folder) == {"name that is not UTF-8": 1}


@pytest.mark.parametrize("limit", ["MAX_ENTRIES", "MAX_DEPTH"])
def test_a_folder_beyond_the_limits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """A home folder named by mistake is not walked to its end."""
    monkeypatch.setattr(image_folders, limit, 3)

    with pytest.raises(DatasetError, match="got more: name the folder of one dataset"):
        listed(tmp_path, ["a/b/c/1.png", "a/2.png"])


def test_a_folder_that_cannot_be_listed_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected a folder, got: No such file"):
        list_image_folder(tmp_path / "none")
