"""What a selection will cost and find before anything is spent, and what to benchmark next.

``paces`` knows seconds, ``rehearsal`` replays policies on recorded datasets, ``strategies`` puts
both together for a target. ``belief`` is what is known of the models' strength, ``next_cells``
says whose measurement would tell most, ``subset`` which datasets suffice.
"""
