"""Distance of models by the texts that describe them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.errors import ConfigError

#: texts -> (texts, e) embeddings, such as the ``encode`` of a sentence encoder
EncodeTexts: TypeAlias = Callable[[Sequence[str]], FloatArray]

#: pattern of a word; names such as ``bert_base-finetuned`` are several words
_WORD = r"[^\W_]{2,}"


def description_distance(
    descriptions: Sequence[str], encode: EncodeTexts | None = None
) -> FloatArray:
    """Return the distance of models by description (the alternative of Cui et al. 2024, table I).

    It is one minus the cosine of the vectors of two descriptions. A description without a word is
    at distance 1 from every other, as is one without a common word. Equal descriptions are at
    distance 0.

    Args:
        descriptions: Text that describes each of m models, often Markdown; empty: none.
        encode: Sentence encoder, called once with every distinct text that is not blank; None:
            descriptions are TF-IDF vectors of their words (English stop words left out, counts
            damped by the logarithm), with the frequencies of these descriptions.

    Returns:
        (m, m) symmetric distances, zero on the diagonal, in [0, 1] for TF-IDF and [0, 2] for an
        encoder; higher is less alike.

    Raises:
        ConfigError: The encoder does not return one finite vector for each text.

    Example:
        >>> description_distance(["small bert", "large bert", "small bert"]).round(1).tolist()
        [[0.0, 0.7, 0.0], [0.7, 0.0, 0.7], [0.0, 0.7, 0.0]]
    """
    texts = sorted({text.strip() for text in descriptions})
    index_of = {text: i for i, text in enumerate(texts)}
    text_index = np.array([index_of[text.strip()] for text in descriptions], dtype=np.intp)  # (m,)
    if encode is None:
        cosine = _tfidf_cosines(texts, np.bincount(text_index, minlength=len(texts)))
    else:
        cosine = _embedding_cosines(texts, encode)
    is_zero = np.diag(cosine) < 0.5  # a vector of zeros; the others have length one
    cosine = np.clip((cosine + cosine.T) / 2, -1.0, 1.0)  # the two halves are rounded differently
    np.fill_diagonal(cosine, np.where(is_zero, 0.0, 1.0))
    distance: FloatArray = 1.0 - cosine[np.ix_(text_index, text_index)]
    np.fill_diagonal(distance, 0.0)
    return distance


def _tfidf_cosines(texts: Sequence[str], repeats: IntArray) -> FloatArray:
    """Return the (t, t) cosines of TF-IDF vectors of t texts.

    Args:
        texts: Distinct texts.
        repeats: (t,) how often each text counts in the document frequencies.
    """
    split = TfidfVectorizer(token_pattern=_WORD, stop_words="english").build_analyzer()
    words = [split(text) for text in texts]
    if not any(words):
        return np.zeros((len(texts), len(texts)))
    vectorizer = TfidfVectorizer(analyzer=list, sublinear_tf=True)
    vectorizer.fit(entry for entry, times in zip(words, repeats, strict=True) for _ in range(times))
    vectors = vectorizer.transform(words)  # sparse (t, words), of length one or zero
    cosine: FloatArray = (vectors @ vectors.T).toarray()
    return cosine


def _embedding_cosines(texts: Sequence[str], encode: EncodeTexts) -> FloatArray:
    """Return the (t, t) cosines of embeddings of t texts; zero with a blank text."""
    cosine = np.zeros((len(texts), len(texts)))
    filled = [i for i, text in enumerate(texts) if text]
    if not filled:
        return cosine
    vectors = np.asarray(encode([texts[i] for i in filled]), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(filled) or not np.isfinite(vectors).all():
        raise ConfigError(
            f"encode: expected {len(filled)} rows of finite numbers, one for each text, "
            f"got shape {vectors.shape} with {np.count_nonzero(~np.isfinite(vectors))} not finite"
        )
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    cosine[np.ix_(filled, filled)] = unit @ unit.T
    return cosine
