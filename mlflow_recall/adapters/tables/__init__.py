"""Plain tables in a folder: a history of their own, an import and an export."""
