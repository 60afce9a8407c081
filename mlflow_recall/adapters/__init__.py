"""Adapters to other libraries: MLflow, datasets, transformers, timm, Optuna, pandas, matplotlib."""
