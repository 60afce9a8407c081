"""Back-test: recommenders and policies replayed on recorded history, dataset by dataset.

``holdout`` makes every recorded dataset a target. ``recommender_comparison`` judges rankings,
``calibration`` their predicted gaps, and ``transfer_test`` whether the history applies at all.
``replay``, ``strategies`` and ``policy_frontiers`` measure what policies cost and find,
``frontier`` and ``whole_selections`` summarize that, and ``verdict`` says what follows.
"""
