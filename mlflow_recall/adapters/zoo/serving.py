"""Fine-tuned networks as models that ``mlflow models serve`` loads: code and safetensors."""

from __future__ import annotations

import base64
import io
import warnings
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from mlflow_recall.adapters.data import decoding
from mlflow_recall.core.history.records import Dataset, Member

with warnings.catch_warnings():
    # the first import of MLflow's pyfunc warns of a type hint of its own
    warnings.filterwarnings("ignore", ".*Any type hint", UserWarning)
    import mlflow.pyfunc

#: modality -> file with the code of the model
_CODE_FILES = {
    "text": Path(__file__).with_name("serve_text.py"),
    "image": Path(__file__).with_name("serve_image.py"),
}
#: modality -> artifacts with the code that decodes an input
_DECODERS: dict[str, dict[str, str]] = {"text": {}, "image": {"decoding": decoding.__file__}}
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
        artifacts={"weights": str(weights), **_DECODERS[member.modality]},
        pip_requirements=_requirements(member),
        signature=ModelSignature(
            # images are bytes or base64: MLflow accepts bytes where a string is declared
            inputs=Schema([ColSpec(DataType.string, str(name)) for name in example]),
            outputs=Schema([ColSpec(DataType.string, "label"), ColSpec(DataType.double, "score")]),
        ),
        input_example=example,
        metadata={
            "arch": member.arch,
            "base": f"{member.name}/{member.version}",
            "dataset": dataset.name,
            "digest": dataset.digest,
            "classes": list(dataset.classes),
        },
    )


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
