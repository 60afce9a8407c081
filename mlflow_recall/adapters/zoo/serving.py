"""A fine-tuned network as a model that ``mlflow models serve`` loads: code and safetensors."""

from __future__ import annotations

import base64
import io
import warnings
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from mlflow_recall.core.history.records import Dataset, Member

with warnings.catch_warnings():
    # MLflow warns of a type hint of its own when this is first imported
    warnings.filterwarnings("ignore", ".*Any type hint", UserWarning)
    import mlflow.pyfunc

_CODE = {
    "text": Path(__file__).with_name("serve_text.py"),
    "image": Path(__file__).with_name("serve_image.py"),
}
_REQUIRED = ("mlflow", "numpy", "pandas", "safetensors", "torch")


def save_servable(folder: Path, weights: Path, member: Member, dataset: Dataset) -> None:
    """Write an MLflow model that needs none of this package where it is served.

    Nothing in it is pickled: the code is a file, the weights are safetensors.

    Args:
        folder: of the model; must not exist yet, or be empty.
        weights: what ``Network.save`` wrote after the last stage.
        member: whose weights were fine-tuned.
        dataset: what they were fine-tuned for.
    """
    mlflow.pyfunc.save_model(
        path=str(folder),
        python_model=str(_CODE[member.modality]),
        artifacts={"weights": str(weights)},
        pip_requirements=_requirements(member),
        signature=ModelSignature(
            # base64 is text, and MLflow lets bytes through where a string is declared
            inputs=Schema([ColSpec(DataType.string, member.modality)]),
            outputs=Schema([ColSpec(DataType.string, "label"), ColSpec(DataType.double, "score")]),
        ),
        input_example=_example(member.modality),
        metadata={
            "arch": member.arch,
            "base": f"{member.name}/{member.version}",
            "dataset": dataset.name,
            "digest": dataset.digest,
            "classes": list(dataset.classes),
        },
    )


def _requirements(member: Member) -> list[str]:
    """What the model was made with; a build of one's own (``2.9.0+cpu``) is on no index."""
    images = ("pillow", "torchvision") if member.modality == "image" else ()
    packages = (*_REQUIRED, member.library, *images)
    return [f"{name}=={version(name).partition('+')[0]}" for name in sorted(packages)]


def _example(modality: str) -> pd.DataFrame:
    """One made-up row: a model may travel further than the data that it was trained on."""
    if modality == "text":
        return pd.DataFrame({"text": ["An example sentence."]})
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (32, 32), "gray").save(file, "PNG")
    return pd.DataFrame({"image": [base64.b64encode(file.getvalue()).decode()]})
