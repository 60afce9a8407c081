"""Fine-tuned networks as models that ``mlflow models serve`` loads: code and safetensors."""

from __future__ import annotations

import base64
import io
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array

from mlflow_recall.adapters.data import decoding
from mlflow_recall.adapters.zoo import answers
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.core.history.tasks import CLASSIFICATION, MULTILABEL, REGRESSION

with warnings.catch_warnings():
    # the first import of MLflow's pyfunc warns of a type hint of its own
    warnings.filterwarnings("ignore", ".*Any type hint", UserWarning)
    import mlflow.pyfunc

#: modality -> file with the code of the model
_CODE_FILES = {
    "text": Path(__file__).with_name("serve_text.py"),
    "image": Path(__file__).with_name("serve_image.py"),
}
#: modality -> artifacts with code that is the same in training
_CODE: dict[str, dict[str, str]] = {
    "text": {"answers": answers.__file__},
    "image": {"answers": answers.__file__, "decoding": decoding.__file__},
}
#: task -> columns of an answer
_ANSWERS: dict[str, dict[str, DataType | Array]] = {
    CLASSIFICATION: {"label": DataType.string, "score": DataType.double},
    MULTILABEL: {"labels": Array(DataType.string), "scores": Array(DataType.double)},
    REGRESSION: {"prediction": DataType.double},
}
_PACKAGES = ("mlflow", "numpy", "pandas", "safetensors", "torch")


def save_servable(folder: Path, weights: Path, member: Member, dataset: Dataset) -> None:
    """Write an MLflow model that can be served without this package.

    Nothing in it is pickled: the code is a file, and the weights are safetensors.

    Args:
        folder: Folder of the model, which must not exist yet or must be empty.
        weights: Folder that ``Network.save`` wrote after the last stage.
        member: Model that was fine-tuned.
        dataset: Dataset that it was fine-tuned on.
    """
    example = _example(member.modality, dataset)
    mlflow.pyfunc.save_model(
        path=str(folder),
        python_model=str(_CODE_FILES[member.modality]),
        artifacts={"weights": str(weights), **_CODE[member.modality]},
        pip_requirements=_requirements(member),
        signature=ModelSignature(
            # images are bytes or base64: MLflow accepts bytes where a string is declared
            inputs=Schema([ColSpec(DataType.string, str(name)) for name in example]),
            outputs=Schema([ColSpec(kind, name) for name, kind in _ANSWERS[dataset.task].items()]),
            **_parameters(dataset),
        ),
        input_example=example,
        metadata={
            "arch": member.arch,
            "base": f"{member.name}/{member.version}",
            "dataset": dataset.name,
            "digest": dataset.digest,
            "task": dataset.task,
            "classes": list(dataset.classes),
        },
    )


def _parameters(dataset: Dataset) -> dict[str, Any]:
    """Return the schema of what a caller may change: the threshold of a multi-label model."""
    if dataset.task != MULTILABEL:
        return {}
    threshold = ParamSpec("threshold", DataType.double, answers.THRESHOLD)
    return {"params": ParamSchema([threshold])}


def _requirements(member: Member) -> list[str]:
    """Return the installed versions, without a local part such as ``+cpu``, which no index has."""
    images = ("pillow", "torchvision") if member.modality == "image" else ()
    packages = (*_PACKAGES, member.library, *images)
    return [f"{name}=={version(name).partition('+')[0]}" for name in sorted(packages)]


def _example(modality: str, dataset: Dataset) -> pd.DataFrame:
    """Return one invented row, because the training data may not be public as the model is."""
    if modality == "text":
        second = {"text_pair": ["Another sentence."]} if dataset.has_pairs else {}
        return pd.DataFrame({"text": ["An example sentence."], **second})
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (32, 32), "gray").save(file, "PNG")
    return pd.DataFrame({"image": [base64.b64encode(file.getvalue()).decode()]})
