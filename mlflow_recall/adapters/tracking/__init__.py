"""The MLflow tracking server and model registry: runs, tags, records and registered models."""
