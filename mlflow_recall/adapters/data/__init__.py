"""Datasets: read from files, folders or the hub, split, stored, and restored."""
