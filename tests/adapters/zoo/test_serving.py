"""A fine-tuned network, saved as an MLflow model, predicts through MLflow."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from mlflow.exceptions import MlflowException
from pictures import CHANGED, UNCHANGED
from PIL import Image
from tiny import tiny_bert, tiny_images, tiny_pairs, tiny_texts, tiny_timm

from mlflow_recall.adapters import zoo
from mlflow_recall.adapters.data.preparation import load_split, prepare
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.zoo import serving, timm_models, transformers_models
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.ports import TrainTask

RECIPE = Recipe(epochs=1, learning_rate=5e-3, head_learning_rate=5e-2, freeze_batchnorm=False)
CODE = Path(serving.__file__).parent


@dataclass(frozen=True)
class Served:
    """One network after a stage of training, its own answers, and the model made of it."""

    folder: Path
    member: Member
    dataset: Dataset
    network: Any
    #: of the rows of the test split
    inputs: list[Any]
    probabilities: Any  # (n, c)


def _served(
    place: Path, member: Member, weights: Path, dataset: Dataset, recipe: Recipe, library: Any
) -> Served:
    task = TrainTask(
        member=member,
        weights=str(weights),
        dataset=dataset,
        recipe=recipe,
        workspace=str(place / "work"),
    )
    (stage,) = zoo.train(task)
    assert stage.checkpoint is not None
    serving.save_servable(place / "model", Path(stage.checkpoint), member, dataset)
    network = library.load(member, stage.checkpoint, dataset, recipe, False)
    network.module.eval()
    rows = load_split(dataset, "test")
    inputs = [row["bytes"] if member.modality == "image" else row for row in rows[member.modality]]
    return Served(place / "model", member, dataset, network, inputs, _answers(network, rows))


def _answers(network: Any, rows: Any) -> Any:
    """Return the (n, c) probabilities that the network itself gives."""
    with torch.inference_mode():
        logits = network.logits(network.collate(network.preprocess(rows)))
    return logits.double().softmax(dim=1).numpy()


def _png(picture: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Served:
    place = tmp_path_factory.mktemp("text")
    dataset = prepare(DatasetSpec(path=str(tiny_texts(place / "rows.csv", 120))))
    member = Member(name="tiny-bert", version="1", modality="text", arch="transformers/bert")
    recipe = RECIPE.with_changes({"input_size": 7}, "test")  # cuts some texts, pads others
    return _served(place, member, tiny_bert(place / "bert"), dataset, recipe, transformers_models)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Served:
    place = tmp_path_factory.mktemp("image")
    dataset = prepare(DatasetSpec(path=str(tiny_images(place / "rows", 60))))
    member = Member(name="tiny-resnet", version="1", modality="image", arch="timm/test_resnet")
    recipe = RECIPE.with_changes({"input_size": 32}, "test")
    return _served(place, member, tiny_timm(place / "resnet"), dataset, recipe, timm_models)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Served:
    place = tmp_path_factory.mktemp("pair")
    spec = DatasetSpec(
        path=str(tiny_pairs(place / "rows.csv", 120)), text="premise", text_pair="hypothesis"
    )
    member = Member(name="tiny-bert", version="1", modality="text", arch="transformers/bert")
    recipe = RECIPE.with_changes({"input_size": 12}, "test")
    return _served(
        place, member, tiny_bert(place / "bert"), prepare(spec), recipe, transformers_models
    )


@pytest.fixture(scope="module", params=["text", "image"])
def served(request: pytest.FixtureRequest) -> Served:
    fixture: Served = request.getfixturevalue(request.param)
    return fixture


def _check(answer: pd.DataFrame, served: Served) -> None:
    """The most probable class of each row with its probability."""
    assert list(answer.columns) == ["label", "score"]
    names = [served.dataset.classes[place] for place in served.probabilities.argmax(axis=1)]
    assert answer["label"].tolist() == names
    np.testing.assert_allclose(answer["score"], served.probabilities.max(axis=1), atol=1e-5)


def test_the_model_answers_as_the_network_does(served: Served) -> None:
    """The served model must be the one that was selected."""
    model = mlflow.pyfunc.load_model(str(served.folder))

    answer = model.predict(pd.DataFrame({served.member.modality: served.inputs}))

    _check(answer, served)
    assert answer["score"].nunique() > 1


def test_the_order_and_the_batch_of_rows_change_nothing(served: Served) -> None:
    """Rows are sorted and cut into batches inside: each still gets its own answer."""
    model = mlflow.pyfunc.load_model(str(served.folder))
    rows = pd.DataFrame({served.member.modality: served.inputs * 8})[::-1]

    answer = model.predict(rows)

    assert len(rows) > 64  # more than a batch
    _check(answer[::-1][: len(served.inputs)].reset_index(drop=True), served)


def test_the_same_input_is_answered_the_same_to_the_last_bit(served: Served) -> None:
    """Nothing in it is random, in a second process either."""
    rows = pd.DataFrame({served.member.modality: served.inputs})

    first, second = (mlflow.pyfunc.load_model(str(served.folder)).predict(rows) for _ in range(2))

    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_a_pair_is_answered_as_the_network_does(pair: Served) -> None:
    """Both texts are read, in their order; half a pair is refused."""
    model = mlflow.pyfunc.load_model(str(pair.folder))
    rows = load_split(pair.dataset, "test")
    frame = pd.DataFrame({name: list(rows[name]) for name in ("text", "text_pair")})

    answer = model.predict(frame)

    _check(answer, pair)
    swapped = model.predict(frame.rename(columns={"text": "text_pair", "text_pair": "text"}))
    assert answer["score"].tolist() != pytest.approx(swapped["score"].tolist())
    with pytest.raises(MlflowException, match="text_pair"):
        model.predict(frame[["text"]])


@pytest.mark.parametrize("form", ["records", "columns"])
def test_lists_and_dictionaries_do_as_well(text: Served, form: str) -> None:
    """MLflow hands a dictionary of a list on as one row."""
    model = mlflow.pyfunc.load_model(str(text.folder))
    records = [{"text": value} for value in text.inputs]

    answer = model.predict(records if form == "records" else {"text": text.inputs})

    _check(answer, text)


@pytest.mark.parametrize("form", ["base64", "url"])
def test_images_may_be_text(image: Served, form: str) -> None:
    """JSON has no bytes."""
    start = "data:image/png;base64," if form == "url" else ""
    rows = [start + base64.b64encode(value).decode() for value in image.inputs]

    answer = mlflow.pyfunc.load_model(str(image.folder)).predict(pd.DataFrame({"image": rows}))

    _check(answer, image)


def test_photographs_are_turned_upright(image: Served) -> None:
    """Cameras write sideways and say so; training saw them turned."""
    picture = Image.open(io.BytesIO(image.inputs[0]))
    pixels = np.asarray(picture).copy()
    pixels[: len(pixels) // 2] = 0  # now it has an upper half
    upright, file = Image.fromarray(pixels), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be seen, turn right by 90 degrees
    upright.transpose(Image.Transpose.ROTATE_90).save(file, "PNG", exif=exif)
    rows = pd.DataFrame({"image": [_png(upright), file.getvalue()]})

    answer = mlflow.pyfunc.load_model(str(image.folder)).predict(rows)

    assert answer["score"][0] == pytest.approx(answer["score"][1], abs=1e-6)


def test_every_kind_of_picture_is_answered_as_in_training(image: Served) -> None:
    """A served model decodes with the code of training: 16-bit, CMYK, alpha, turned and all."""
    _check_pictures(image)


def _check_pictures(served: Served) -> None:
    files = {**UNCHANGED, **CHANGED}
    expected = _answers(served.network, {"image": [{"bytes": data} for data in files.values()]})

    answer = mlflow.pyfunc.load_model(str(served.folder)).predict(
        pd.DataFrame({"image": list(files.values())})
    )

    scores = dict(zip(files, answer["score"], strict=True))
    assert scores == pytest.approx(dict(zip(files, expected.max(axis=1), strict=True)), abs=1e-6)


def test_no_rows_get_no_answers(served: Served) -> None:
    """A filter in front of the model may drop every row."""
    empty = pd.DataFrame({served.member.modality: pd.Series([], dtype=object)})

    answer = mlflow.pyfunc.load_model(str(served.folder)).predict(empty)

    assert (len(answer), list(answer.columns)) == (0, ["label", "score"])


def test_rows_of_another_kind_are_named(served: Served) -> None:
    """The error names the row and its value."""
    rows = pd.DataFrame({served.member.modality: [served.inputs[0], None]})

    with pytest.raises((TypeError, ValueError), match="row 1: expected"):
        mlflow.pyfunc.load_model(str(served.folder)).predict(rows)


def test_a_broken_picture_is_named(image: Served) -> None:
    """Text that is no base64, and base64 that is no picture."""
    model = mlflow.pyfunc.load_model(str(image.folder))

    for broken in ("?", base64.b64encode(b"no picture").decode(), image.inputs[0][:40]):
        with pytest.raises(ValueError, match="row 0: expected the bytes of a picture"):
            model.predict(pd.DataFrame({"image": [broken]}))


def test_a_model_holds_code_and_safetensors_only(served: Served) -> None:
    """A pickle would run its author's code where it is loaded."""
    files = [file for file in served.folder.rglob("*") if file.is_file()]
    files = [file for file in files if file.parent.name != "__pycache__"]  # of having loaded it
    kinds = {file.suffix for file in files}

    assert kinds <= {"", ".json", ".py", ".safetensors", ".txt", ".yaml"}
    assert ".safetensors" in kinds
    others = [file for file in files if file.suffix != ".safetensors"]
    assert not [file.name for file in others if file.read_bytes()[:1] == b"\x80"]  # pickle's mark
    flavor = yaml.safe_load((served.folder / "MLmodel").read_text())["flavors"]["python_function"]
    assert flavor["loader_module"] == "mlflow.pyfunc.loaders.code_model"


def test_a_model_says_what_it_takes_and_needs(served: Served) -> None:
    """What an endpoint's page shows, and what its environment is built of."""
    info = mlflow.models.get_model_info(str(served.folder))
    requirements = (served.folder / "requirements.txt").read_text().split()

    assert info.signature is not None
    assert info.signature.inputs.input_names() == [served.member.modality]
    assert info.signature.outputs.input_names() == ["label", "score"]
    assert info.metadata is not None
    assert info.metadata["classes"] == list(served.dataset.classes)
    assert all("==" in line and "+" not in line for line in requirements)
    assert served.member.library in {line.partition("==")[0] for line in requirements}


def test_the_example_inside_is_answered(served: Served) -> None:
    """It is made up: rows of the training data do not travel with a model."""
    model = mlflow.pyfunc.load_model(str(served.folder))

    answer = model.predict(model.input_example)

    assert answer["label"][0] in served.dataset.classes


def test_an_image_model_of_transformers_is_served_too(
    tmp_path: Path, image: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other library of image models, at another size than it was trained with upstream."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
    )
    torch.manual_seed(0)
    ViTModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path / "vit")
    member = Member(name="tiny-vit", version="1", modality="image", arch="transformers/vit")
    recipe = RECIPE.with_changes({"input_size": 32}, "test")

    served = _served(tmp_path, member, tmp_path / "vit", image.dataset, recipe, transformers_models)

    model = mlflow.pyfunc.load_model(str(served.folder))
    _check(model.predict(pd.DataFrame({"image": served.inputs})), served)
    _check_pictures(served)


@pytest.mark.slow
def test_where_this_package_is_not_installed_a_model_still_loads(
    text: Served, image: Served
) -> None:
    """The served file is all the code there is."""
    code = (
        "import sys, mlflow\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'mlflow_recall':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "for folder in sys.argv[1:]:\n"
        "    model = mlflow.pyfunc.load_model(folder)\n"
        "    print(len(model.predict(model.input_example)))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(text.folder), str(image.folder)],
        capture_output=True,
        text=True,
    )

    assert done.stdout == "1\n1\n", done.stderr
