"""What the project knows: numbers in, numbers out.

``records`` one fine-tuning · ``matrix`` and ``curves`` many · ``recipes`` how they are trained ·
``metrics`` how they are judged · ``similarity`` and ``clustering`` which models behave alike ·
``scores`` cheap transferability · ``recommend`` rankings · ``trends`` and ``policies`` who goes on.

No MLflow, torch, optuna, files, clocks or global randomness below this line.
"""
