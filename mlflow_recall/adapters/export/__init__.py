"""Exports of a namespace as text files: written, imported into a store, and read as a history."""
