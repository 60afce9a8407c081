"""Plugins of MLflow: artifact repositories of other model sources.

MLflow imports these modules while ``import mlflow`` is still running. So at module level they
import only the abstract base and the standard library, and everything else inside methods.
"""
