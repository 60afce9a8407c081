"""How large a dataset may be; docs/security.md states the same numbers."""

from __future__ import annotations

#: bytes of a file, unpacked
MAX_BYTES = 2 * 2**30
MAX_ROWS = 10_000_000
MAX_COLUMNS = 1_000
#: characters of one cell of text
MAX_CELL = 10_000_000
#: bytes of one encoded picture
MAX_PICTURE = 100_000_000
MAX_CLASSES = 10_000
#: characters of the name of a class
MAX_CLASS_NAME = 500
