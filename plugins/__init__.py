"""What plugs into MLflow itself: artifact repositories of other model sources.

MLflow imports these modules while ``import mlflow`` is still executing: at their top they import
the abstract base and nothing else of weight, all the rest inside methods.
"""
