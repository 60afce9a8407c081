"""Recorded fine-tunings as plain data.

``records`` are single fine-tunings, ``matrix`` and ``curves`` many of them, ``recipes`` how they
are trained and ``metrics`` how they are scored. ``comparable`` selects those that one matrix can
hold, ``ground_truth`` judges a selection, ``resample`` shortens long curves, and ``overview``
summarizes what is recorded.
"""
