"""Which pictures of a dataset can be decoded, looked at once for each content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow_recall.adapters.data.decoding import ImageDecodeError, looks_unchanged
from mlflow_recall.bounded_json import read_object
from mlflow_recall.cache import build_once, cache_folder
from mlflow_recall.errors import DatasetError

#: changes whenever ``decoding`` reads other pictures than before, or in another way
_DECODER = "1"
_FILE = "pictures.json"


@dataclass(frozen=True, kw_only=True)
class PictureCheck:
    """What decoding the pictures of a dataset once has shown."""

    #: position of a picture that cannot be decoded -> why
    broken: Mapping[int, str]
    #: positions of the pictures that earlier versions decoded in another way
    changed: frozenset[int]


def check_pictures(pictures: Sequence[bytes]) -> PictureCheck:
    """Decode every picture once, and remember for these contents how that went."""
    state = hashlib.sha256(_DECODER.encode())
    for data in pictures:
        state.update(hashlib.sha256(data).digest())
    folder = cache_folder("pictures", state.hexdigest()[:32])

    def save(folder: Path) -> None:
        broken, changed = {}, []
        for i, data in enumerate(pictures):
            try:
                if not looks_unchanged(data):
                    changed.append(i)
            except ImageDecodeError as error:
                broken[i] = str(error)
        (folder / _FILE).write_text(json.dumps({"broken": broken, "changed": changed}))

    file = build_once(folder, save) / _FILE
    content = read_object(file, DatasetError)
    try:
        return PictureCheck(
            broken={int(i): str(reason) for i, reason in content["broken"].items()},
            changed=frozenset(map(int, content["changed"])),
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        raise DatasetError(f"{file}: is damaged: delete its folder, and it is made again") from None
