"""Limits of what is read from files and servers that somebody else may have written.

Readers refuse what is larger with one line. ``docs/security.md`` lists every limit.
"""

from __future__ import annotations

#: bytes of a file that people write: a zoo, benchmarks, rules
YAML_BYTES = 1_000_000
#: values of such a file, where an alias counts as all that it stands for
YAML_VALUES = 100_000
#: lists and mappings inside each other, in YAML and in JSON
NESTING = 50
#: digits of an integer
NUMBER_LENGTH = 300
#: bytes of a small file that describes a model or a dataset, such as ``config.json``
METADATA_BYTES = 20_000_000
#: bytes of one line of an export
EXPORT_LINE_BYTES = 20_000_000
#: bytes of a file of an export
EXPORT_BYTES = 2_000_000_000
#: columns of a table of a history
TABLE_COLUMNS = 1_000
#: bytes of a table of a history
TABLE_BYTES = 2_000_000_000
#: characters of a name of a model, dataset or metric
NAME_LENGTH = 250
#: characters of a parameter's value that a tracking server keeps
PARAM_LENGTH = 6_000
#: characters of an option's value
OPTION_LENGTH = 10_000
