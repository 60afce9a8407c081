"""The settings of an architecture that a zoo file, a tag or a timm folder may change.

They reach the constructors of other libraries, some of which read files or run code if an argument
says so. What is not in the table is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mlflow_recall import limits
from mlflow_recall.errors import ZooError, unknown_name

_MAX_LIST = 64
_NAME = re.compile(r"[A-Za-z0-9_]{0,40}")


@dataclass(frozen=True)
class _Kind:
    """What the value of a setting may be; where it says so, a list of such values too."""

    expected: str
    accepts: Callable[[object], bool]
    is_list: bool = False

    def allows(self, value: object) -> bool:
        """Return whether a value may be passed on."""
        if value is None:
            return True
        if isinstance(value, (list, tuple)):
            is_short = len(value) <= _MAX_LIST
            return self.is_list and is_short and all(map(self.accepts, value))
        return self.accepts(value)


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _whole(low: int, high: int, *, is_list: bool = False) -> _Kind:
    def accepts(value: object) -> bool:
        return isinstance(value, int) and _is_number(value, low, high)

    return _Kind(f"a whole number from {low} to {high}", accepts, is_list)


def _number(low: float, high: float, *, is_list: bool = False) -> _Kind:
    def accepts(value: object) -> bool:
        return _is_number(value, low, high)

    return _Kind(f"a number from {low:g} to {high:g}", accepts, is_list)


_COUNT = _whole(1, 512, is_list=True)
_WIDTH = _whole(1, 65_536, is_list=True)
_SIDE = _whole(1, 4096, is_list=True)
_SHARE = _number(0, 1, is_list=True)
_FACTOR = _number(0, 100, is_list=True)
_FLAG = _Kind("true or false", lambda value: isinstance(value, bool), is_list=True)
_WORD = _Kind(
    "a plain name", lambda value: isinstance(value, str) and bool(_NAME.fullmatch(value)), True
)

#: setting -> what it may be
SETTINGS: Mapping[str, _Kind] = MappingProxyType(
    {
        # depth
        **dict.fromkeys(
            ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "depth",
             "depths", "layers", "num_blocks", "num_heads", "num_attention_heads", "groups",
             "num_groups", "cardinality", "reg_tokens", "block_args_repeats"),
            _COUNT,
        ),
        # width
        **dict.fromkeys(
            ("hidden_size", "hidden_sizes", "intermediate_size", "embed_dim", "embed_dims", "dims",
             "channels", "base_width", "stem_width", "stem_chs", "num_features", "head_hidden_size",
             "max_position_embeddings", "type_vocab_size", "num_channels", "in_chans",
             "representation_size", "dim", "d_model", "d_ff"),
            _WIDTH,
        ),
        "num_classes": _whole(0, limits.MAX_HEAD_CLASSES),
        "num_labels": _whole(1, limits.MAX_HEAD_CLASSES),
        # sizes of the image, and of what it is cut into
        **dict.fromkeys(
            ("image_size", "img_size", "patch_size", "window_size", "kernel_size", "kernel_sizes",
             "stem_kernel_size", "output_stride", "strides", "round_multiple"),
            _SIDE,
        ),
        # regularization
        **dict.fromkeys(
            ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "dropout",
             "attention_dropout", "drop_rate", "drop_path_rate", "drop_block_rate", "pos_drop_rate",
             "patch_drop_rate", "proj_drop_rate", "attn_drop_rate", "bn_eps", "bn_momentum",
             "layer_norm_eps", "norm_eps", "rd_ratio"),
            _SHARE,
        ),
        # factors
        **dict.fromkeys(
            ("mlp_ratio", "mlp_ratios", "init_values", "ls_init_value", "channel_multiplier",
             "depth_multiplier", "width", "expand_ratio"),
            _FACTOR,
        ),
        # switches
        **dict.fromkeys(
            ("class_token", "qkv_bias", "qk_norm", "pre_norm", "fc_norm", "final_norm",
             "no_embed_class", "dynamic_img_size", "dynamic_img_pad", "strict_img_size",
             "always_partition", "use_fc_norm", "avg_down", "deep_stem", "aux_logits", "conv_mlp",
             "use_rot_pos_emb", "use_rel_pos_bias", "use_abs_pos_emb", "use_post_norm",
             "swiglu_mlp", "scale_mlp", "conv_bias", "use_grn", "head_norm_first", "anti_alias",
             "fix_stem", "use_se", "add_pooling_layer", "distillation"),
            _FLAG,
        ),
        # names that a library looks up in tables of its own
        **dict.fromkeys(
            ("pad_type", "global_pool", "act_layer", "norm_layer", "stem_type", "down_kernel_size",
             "pos_embed", "aa_layer", "hidden_act", "block_fn"),
            _WORD,
        ),
    }
)  # fmt: skip


def check_settings(settings: Mapping[str, object], where: str) -> None:
    """Check the settings of an architecture before a library gets them.

    Args:
        settings: Name -> value.
        where: Where they were read from, for the message: an entry of a zoo file, a tag or a file.

    Raises:
        ZooError: A setting is unknown, or its value is of another type or out of bounds.
    """
    for name, value in settings.items():
        kind = SETTINGS.get(name)
        if kind is None:
            raise ZooError(f"{where}: {unknown_name('setting', str(name)[:80], SETTINGS)}")
        if not kind.allows(value):
            lists = " (or a list of such)" if kind.is_list else ""
            raise ZooError(
                f"{where}: {name}: expected {kind.expected}{lists}, got {str(value)[:80]!r}"
            )
