"""Model folders of strangers: nothing in them runs, is fetched, or takes the machine's memory."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_bert, tiny_timm

from mlflow_recall import limits
from mlflow_recall.adapters.zoo import timm_models, transformers_models
from mlflow_recall.adapters.zoo.model_folder import check_folder, read_config
from mlflow_recall.adapters.zoo.model_settings import SETTINGS, check_settings
from mlflow_recall.adapters.zoo.trial import try_model
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.errors import ZooError
from mlflow_recall.workflows.text_encoder import load_encoder_folder

TEXT = Member(name="m", version="1", modality="text", arch="transformers/bert")
IMAGE = Member(name="m", version="1", modality="image", arch="timm/test_resnet")
RECIPE = Recipe(input_size=16)
NO_DATA = Dataset(
    name="", digest="", modality="text", classes=("a", "b"), sizes={}, source="", folder=""
)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return tiny_bert(tmp_path / "bert")


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that code of the folder would write."""
    return tmp_path / "executed"


def edit(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, **changes}))


def load(member: Member, folder: Path) -> Any:
    library = timm_models if member.library == "timm" else transformers_models
    return library.load(member, str(folder), NO_DATA, RECIPE, False)


def check_refused(member: Member, folder: Path, message: str) -> None:
    """Neither the trial nor a worker reads on."""
    for attempt in (
        lambda: try_model(member, folder, RECIPE),
        lambda: load(member, folder),
    ):
        with pytest.raises(ZooError, match=message) as error:
            attempt()
        assert "\n" not in str(error.value)


class Bomb:
    """An object whose pickle writes the marker where it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.marker, "ran")


# --- code ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "auto_map"),
    [
        ("config.json", {"AutoConfig": "own.Own", "AutoModel": "own.Own"}),
        ("tokenizer_config.json", {"AutoTokenizer": [None, "own.Own"]}),
        ("processor_config.json", {"AutoProcessor": "own.Own"}),
        ("preprocessor_config.json", {"AutoImageProcessor": "own.Own"}),
    ],
)
def test_custom_code_is_refused_in_every_file_and_never_runs(
    bert: Path, marker: Path, file: str, auto_map: Mapping[str, Any]
) -> None:
    """A folder of a hub may hold any Python, and transformers would ask to run it."""
    (bert / "own.py").write_text(f"open({str(marker)!r}, 'w').close()")
    edit(bert / file, auto_map=auto_map)

    check_refused(TEXT, bert, rf"{file}: needs custom code \(auto_map\), which is not supported")

    assert not marker.exists()


def test_an_encoder_of_a_folder_runs_no_code_of_it(bert: Path, marker: Path) -> None:
    """`cluster --encoder` takes any folder."""
    (bert / "own.py").write_text(f"open({str(marker)!r}, 'w').close()")
    edit(bert / "config.json", auto_map={"AutoModel": "own.Own"}, model_type="own")

    with pytest.raises(ZooError, match="needs custom code"):
        load_encoder_folder(str(bert))(["a text"])

    assert not marker.exists()


def test_a_setting_cannot_allow_custom_code(bert: Path, marker: Path) -> None:
    """Settings of a zoo file and of a tag reach the constructor of the library."""
    (bert / "own.py").write_text(f"open({str(marker)!r}, 'w').close()")
    edit(bert / "config.json", auto_map={"AutoConfig": "own.Own"}, model_type="own")
    member = Member(
        name="m", version="1", modality="text", arch="a", config={"trust_remote_code": True}
    )

    with pytest.raises(ZooError, match="unknown setting 'trust_remote_code': expected one of"):
        load(member, bert)

    assert not marker.exists()


def test_pickles_behind_an_index_are_never_read(bert: Path, marker: Path) -> None:
    """Transformers reads the files that an index names, whatever their kind."""
    (bert / "weights.bin").write_bytes(pickle.dumps(Bomb(marker)))
    index = {"metadata": {}, "weight_map": dict.fromkeys(["a", "b"], "weights.bin")}
    (bert / "model.safetensors.index.json").write_text(json.dumps(index))
    (bert / "model.safetensors").unlink()

    check_refused(TEXT, bert, "expected names of safetensors in the same folder, got 'weights.bin'")

    assert not marker.exists()


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/model.safetensors", "none.bin"])
def test_an_index_names_files_of_its_folder(bert: Path, name: str) -> None:
    """Any file of the machine could be read as weights, and logged."""
    index = {"metadata": {}, "weight_map": {"a": name}}
    (bert / "model.safetensors.index.json").write_text(json.dumps(index))

    check_refused(TEXT, bert, "expected names of safetensors in the same folder")


@pytest.mark.parametrize("place", ["model_args", "top", "setting", "pretrained_cfg"])
def test_timm_reads_no_checkpoint_that_a_configuration_names(
    tmp_path: Path, marker: Path, place: str
) -> None:
    """Its factory loads the pickle behind ``checkpoint_path`` or ``file``."""
    folder, bomb = tiny_timm(tmp_path / "net"), tmp_path / "bomb.pth"
    bomb.write_bytes(pickle.dumps(Bomb(marker)))
    config = json.loads((folder / "config.json").read_text())
    argument = {"checkpoint_path": str(bomb)}
    member = IMAGE
    if place == "model_args":
        edit(folder / "config.json", model_args={**config["model_args"], **argument})
    elif place == "top":
        edit(folder / "config.json", **argument)
    elif place == "setting":
        member = Member(name="m", version="1", modality="image", arch=IMAGE.arch, config=argument)
    else:
        described = {**config["pretrained_cfg"], "file": str(bomb), "custom_load": True}
        edit(folder / "config.json", pretrained_cfg=described)

    if place == "pretrained_cfg":  # no key of it that names a place is used
        load(member, folder)
    else:
        check_refused(member, folder, "checkpoint_path")

    assert not marker.exists()


@pytest.mark.parametrize("arch", ["hf-hub:org/net", "local-dir:/tmp/net", "../net", "no_such_net"])
def test_an_architecture_of_timm_is_a_name_of_its_list(tmp_path: Path, arch: str) -> None:
    """Its factory reads the configuration and the weights that a prefix of the name leads to."""
    folder = tiny_timm(tmp_path / "net")
    edit(folder / "config.json", architecture=arch)

    check_refused(IMAGE, folder, "expected (the name of one of|an architecture of) timm")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attn_implementation": "org/kernel"}, r"expected one of .*no kernels are fetched"),
        ({"_attn_implementation": "org/kernel:fn"}, r"expected one of .*no kernels are fetched"),
        ({"use_kernels": True}, "use_kernels: expected nothing"),
        ({"quantization_config": {"quant_method": "gptq"}}, "expected weights in full precision"),
        ({"use_pretrained_backbone": True}, "use_pretrained_backbone: expected nothing"),
        ({"backbone": "resnet50"}, "backbone: expected nothing"),
        ({"text_config": {"backbone_config": {"model_type": "timm_backbone"}}}, "expected a model"),
        ({"model_type": "timm_wrapper"}, "expected a model of transformers"),
    ],
)
def test_nothing_is_fetched_for_a_configuration(
    bert: Path, changes: dict[str, Any], message: str
) -> None:
    """Kernels are compiled code of a hub, and parts of a model may be of any repository."""
    edit(bert / "config.json", **changes)

    check_refused(TEXT, bert, message)


def test_an_adapter_of_another_model_is_refused(bert: Path) -> None:
    """Transformers would load the model that the adapter names, from a hub or any folder."""
    (bert / "adapter_config.json").write_text('{"base_model_name_or_path": "/secret"}')

    check_refused(TEXT, bert, "expected a whole model, got an adapter of another one")


def test_bare_pickles_are_named(bert: Path) -> None:
    torch.save(load_file(bert / "model.safetensors"), bert / "pytorch_model.bin")
    (bert / "model.safetensors").unlink()

    with pytest.raises(ZooError, match=r"expected safetensors, got pytorch_model\.bin: nothing"):
        check_folder(bert)


def test_several_safetensors_with_an_index_are_one_model(bert: Path) -> None:
    """Large models are saved like this."""
    network = load(TEXT, bert)
    (bert / "model.safetensors").unlink()
    network.module.backbone.save_pretrained(bert, max_shard_size="5KB")
    assert len(list(bert.glob("*.safetensors"))) > 1

    try_model(TEXT, bert, RECIPE)
    loaded = load(TEXT, bert).module.backbone.state_dict()

    for name, values in network.module.backbone.state_dict().items():
        assert torch.equal(values, loaded[name])


# --- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 10**9},
        {"num_hidden_layers": 10**9},
        {"num_labels": 10**9},
        {"vocab_size": 10**12},
        {"max_position_embeddings": 10**10},
        {"hidden_size": 1 << 20, "intermediate_size": 1 << 24, "num_attention_heads": 1},
    ],
)
def test_sizes_of_no_model_are_refused_before_memory_is_taken(
    bert: Path, changes: dict[str, int]
) -> None:
    """A number of a file or a tag must not end the process."""
    edit(bert / "config.json", **changes)

    check_refused(TEXT, bert, "expected at most")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "3", '{"a": ' * 3000, '{"model_type": {"a": 1}}', '{"architecture": 5}', "\0"],
)
def test_a_broken_configuration_is_one_line(bert: Path, content: str) -> None:
    """The others of a zoo are registered all the same."""
    (bert / "config.json").write_text(content)

    with pytest.raises(ZooError, match=r"config\.json: ") as error:
        read_config(bert)
    assert "\n" not in str(error.value)


def test_a_configuration_is_read_up_to_a_limit(bert: Path) -> None:
    (bert / "config.json").write_text(" " * (limits.MAX_METADATA_BYTES + 1))

    with pytest.raises(ZooError, match="expected at most 20,000,000 bytes, got 20,000,001"):
        read_config(bert)


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"num_hidden_layers": 4},
        {"img_size": 64, "depth": 2, "class_token": False, "drop_path_rate": 0.1},
        {"channels": [32, 64, 128, 256], "pad_type": "same", "bn_eps": 1e-3, "global_pool": ""},
        {"num_classes": 0, "classifier_dropout": None},
    ],
)
def test_settings_that_shape_an_architecture_are_allowed(settings: dict[str, object]) -> None:
    check_settings(settings, "config")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_labels": 10**9}, "num_labels: expected a whole number from 1 to 100000, got '1000"),
        ({"num_hidden_layers": True}, "num_hidden_layers: expected a whole number"),
        ({"num_hidden_layers": "4"}, "num_hidden_layers: expected a whole number"),
        ({"depths": [1] * 65}, "depths: expected a whole number"),
        ({"drop_rate": float("nan")}, "drop_rate: expected a number from 0 to 1"),
        ({"act_layer": "../code.py"}, "act_layer: expected a plain name"),
        ({"global_pool": {"a": 1}}, "global_pool: expected a plain name"),
        ({"pretrained_cfg": {"file": "x"}}, "unknown setting 'pretrained_cfg'"),
        ({"pretrained": True}, "unknown setting 'pretrained'"),
        ({"cache_dir": "/"}, "unknown setting 'cache_dir'"),
        ({"attn_implementation": "org/kernel"}, "unknown setting 'attn_implementation'"),
        ({"code_revision": "main"}, "unknown setting 'code_revision'"),
    ],
)
def test_other_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ZooError, match=f"config: {message}"):
        check_settings(settings, "config")


def test_no_setting_names_a_file_or_a_place() -> None:
    """What the table allows must be harmless whatever its value."""
    words = ("path", "file", "dir", "url", "hub", "code", "checkpoint", "pretrained", "kernels")

    names = SETTINGS.keys() - {"drop_path_rate"}  # a share of the layers
    assert not [name for name in names if any(word in name.split("_") for word in words)]
