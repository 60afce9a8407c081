"""A real zoo of text encoders and image networks, its benchmark history, and what built them.

`weights` and `image_weights` turn weights that packages carry into folders of transformers and
timm, `zoo.yaml` and `image_zoo.yaml` list the members made of them, `build` prepares the datasets,
and `targets/` holds the datasets to select for.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
#: the export
HISTORY = FOLDER / "history"
#: datasets whose records judge a selection; clusters are made without them
TARGETS = (
    *("debate_speaker", "docstrings", "foldoc", "rt_sentiment"),
    *("debian_size", "function_summaries"),
    *("emoji_google", "mnist", "script_id", "stamps_coarse"),
)
