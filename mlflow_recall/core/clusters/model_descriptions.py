"""How differently two models are described."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.errors import ConfigError

#: texts -> (texts, e) embeddings, such as the ``encode`` of a sentence encoder
EncodeTexts: TypeAlias = Callable[[Sequence[str]], FloatArray]

#: names such as ``bert_base-finetuned`` are several words
_WORD = r"[^\W_]{2,}"


def description_distance(cards: Sequence[str], encode: EncodeTexts | None = None) -> FloatArray:
    """Distance of models by the text of their cards (the alternative of Cui et al. 2024, table I).

    One minus the cosine of two cards' vectors. A card without a word says nothing: it is at
    distance 1 from every other, as is one that shares no word. Equal cards are at distance 0.

    Args:
        cards: text of each of m models, often Markdown; the empty string where there is none.
        encode: sentence encoder, called once, with every distinct text that is not blank; by
            default cards are TF-IDF vectors of their words (English stop words left out, counts
            damped by the logarithm), with the frequencies of these cards.

    Returns:
        (m, m) symmetric distances, zero on the diagonal, in [0, 1] for TF-IDF and [0, 2] for an
        encoder; higher is less alike.

    Raises:
        SettingError: the encoder did not return one finite vector for each text.
    """
    texts = sorted({card.strip() for card in cards})
    place = {text: i for i, text in enumerate(texts)}
    kind = np.array([place[card.strip()] for card in cards], dtype=np.intp)  # (m,) which text
    if encode is None:
        cosine = _words(texts, np.bincount(kind, minlength=len(texts)))
    else:
        cosine = _encoded(texts, encode)
    silent = np.diag(cosine) < 0.5  # a vector of zeros; the others have length one
    cosine = np.clip((cosine + cosine.T) / 2, -1.0, 1.0)  # a product rounds each half by itself
    np.fill_diagonal(cosine, np.where(silent, 0.0, 1.0))
    distance: FloatArray = 1.0 - cosine[np.ix_(kind, kind)]
    np.fill_diagonal(distance, 0.0)
    return distance


def _words(texts: Sequence[str], repeats: IntArray) -> FloatArray:
    """(t, t) cosines of TF-IDF vectors; document frequencies count the ``repeats`` of a text."""
    split = TfidfVectorizer(token_pattern=_WORD, stop_words="english").build_analyzer()
    words = [split(text) for text in texts]
    if not any(words):
        return np.zeros((len(texts), len(texts)))
    weigh = TfidfVectorizer(analyzer=list, sublinear_tf=True)
    weigh.fit(entry for entry, times in zip(words, repeats, strict=True) for _ in range(times))
    vectors = weigh.transform(words)  # sparse (t, words), of length one or zero
    cosine: FloatArray = (vectors @ vectors.T).toarray()
    return cosine


def _encoded(texts: Sequence[str], encode: EncodeTexts) -> FloatArray:
    """(t, t) cosines of embeddings; zero with a blank text."""
    cosine = np.zeros((len(texts), len(texts)))
    spoken = [i for i, text in enumerate(texts) if text]
    if not spoken:
        return cosine
    vectors = np.asarray(encode([texts[i] for i in spoken]), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(spoken) or not np.isfinite(vectors).all():
        raise ConfigError(
            f"encode: expected {len(spoken)} rows of finite numbers, one for each text, "
            f"got shape {vectors.shape} with {np.count_nonzero(~np.isfinite(vectors))} not finite"
        )
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    cosine[np.ix_(spoken, spoken)] = unit @ unit.T
    return cosine
