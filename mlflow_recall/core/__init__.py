"""What the package knows: plain data in, plain data out.

``history`` describes recorded fine-tunings, ``clusters`` groups models that behave alike,
``scores`` judges models by one forward pass, ``recommend`` ranks them, ``policies`` stop them,
``planning`` estimates what a selection costs, ``backtest`` replays all of it on the history, and
``external_runs`` reads the runs of other training code.

Nothing here uses MLflow, torch, optuna, files, clocks or global randomness.
"""
