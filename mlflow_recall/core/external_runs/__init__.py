"""Runs of other training code as history: how they are read, which count, and which are repeats.

``logging_conventions`` knows how training code names things, ``rules`` says how runs are read,
``infer_rules`` completes rules from the runs at hand, ``import_runs`` selects the runs that become
history, and ``repeats`` tells repeats of a fine-tuning from its configurations.
"""
