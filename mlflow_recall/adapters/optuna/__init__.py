"""Optuna: stopping policies as a pruner, a study of one cohort, and Optuna's pruners to compare."""
