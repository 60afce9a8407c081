"""Finds the packages; all else is in pyproject.toml, where packages are either found or renamed."""

from setuptools import find_packages, setup

#: import name -> folder
FOLDERS = {
    "mlflow_recall": "mlflow_recall",
    "mlflow_recall_example": "mlruns_example",
    "mlflow_recall_plugins": "plugins",
}

setup(
    package_dir=FOLDERS,
    packages=[
        name
        for root, folder in FOLDERS.items()
        for name in (root, *(f"{root}.{inner}" for inner in find_packages(folder)))
    ],
)
