"""``python -m mlflow_recall``."""

from mlflow_recall.cli import main

if __name__ == "__main__":
    main()
