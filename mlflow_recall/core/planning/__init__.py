"""What a selection is expected to cost and to find, and what to benchmark next.

``epoch_times`` estimates seconds, ``simulate`` replays policies on recorded datasets, and
``strategy_estimates`` combines both for a target. ``belief`` is what the history says of the
models' strengths, ``next_cells`` chooses the cells whose measurement says most about them, and
``dataset_subset`` finds the datasets that suffice.
"""
