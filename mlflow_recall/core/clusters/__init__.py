"""Clusters of models: which ones behave alike, and who represents them.

``similarity`` compares benchmark scores, ``model_descriptions`` texts, ``clustering`` makes
clusters of either, and ``comparison`` judges how well each way separates the models.
"""
