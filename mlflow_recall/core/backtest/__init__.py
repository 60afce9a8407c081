"""Back-test: recommenders and policies replayed on recorded history, dataset by dataset.

``holdout`` makes every recorded dataset a target, ``recommender_comparison`` and ``calibration``
judge rankings and their promises, ``replay``, ``strategies`` and ``policy_frontiers`` what policies
cost and find, ``whole_selections`` both together, and ``verdict`` says what follows.
"""
