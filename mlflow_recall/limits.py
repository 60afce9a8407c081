"""Limits of what is read from files and servers that somebody else may have written.

Readers refuse what is larger with one line. ``docs/security.md`` states the same numbers.
"""

from __future__ import annotations

# of a dataset
#: bytes of a file, unpacked
MAX_BYTES = 2 * 2**30
MAX_ROWS = 10_000_000
MAX_COLUMNS = 1_000
#: characters of one cell of text
MAX_CELL = 10_000_000
#: bytes of one encoded picture
MAX_PICTURE = 100_000_000
#: files and folders of a folder of pictures, and how deep they lie
MAX_ENTRIES = 500_000
MAX_DEPTH = 16
MAX_CLASSES = 10_000
#: characters of the name of a class
MAX_CLASS_NAME = 500

# of a file that people write: a zoo, benchmarks, rules
MAX_YAML_BYTES = 1_000_000
#: values of such a file, where an alias counts as all that it stands for
MAX_YAML_VALUES = 100_000
#: characters of an integer
MAX_NUMBER_LENGTH = 300

# of the command line
#: characters of an argument
MAX_ARGUMENT = 20_000
#: workers, epochs, samples, models and seeds
MAX_COUNT = 2**31 - 1

# of any YAML or JSON
#: lists and mappings inside each other
MAX_NESTING = 50
#: bytes of a small file that describes a model or a dataset, such as ``config.json``
MAX_METADATA_BYTES = 20_000_000

# of a history in files
#: bytes of one line of an export
MAX_EXPORT_LINE_BYTES = 20_000_000
#: bytes of an export, and rows of a table as ``MAX_ROWS``
MAX_EXPORT_BYTES = 2 * 2**30
#: bytes of a table, unpacked
MAX_TABLE_BYTES = 500_000_000
#: characters of the name of a run, model, dataset or metric
MAX_NAME_LENGTH = 250

# of a model
#: characters of a text of a zoo file
MAX_ZOO_TEXT = 1_000
#: parameters of a model that is trained here; each takes four bytes, and more in training
MAX_PARAMETERS = 10_000_000_000
#: layers, heads or experts: each takes time to build, whatever its size
MAX_LAYERS = 1_024
#: any other number in ``config.json``: widths, positions and ids of tokens
MAX_MODEL_SIZE = 1 << 24
#: classes of the head that it was pre-trained with
MAX_HEAD_CLASSES = 100_000
