"""Encoded pictures as 8-bit RGB images, as a person sees them.

A served model carries a copy of this file, so that training, probing and serving decode alike.
It therefore imports nothing of this package, and nothing but NumPy and Pillow.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

#: formats that are read, by Pillow's names; EPS, for one, is not, because Ghostscript would run
FORMATS = frozenset(
    {"AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX"}
    | {"PNG", "PPM", "QOI", "SGI", "TGA", "TIFF", "WEBP", "XBM"}
)
#: the most pixels of a picture that is decoded
MAX_PIXELS = 100_000_000
#: modes with more than 8 bits a pixel, all of them gray
_DEEP_MODES = frozenset(["I;16", "I;16L", "I;16B", "I;16N", "I", "F"])
#: EXIF orientation -> what turns the picture upright
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: tags of TIFF: bits of a sample, and 0 where the lowest value is white
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262


# Pillow logs what is wrong with a file, which the error says as well
logging.getLogger("PIL").addHandler(logging.NullHandler())


class ImageDecodeError(ValueError):
    """A picture cannot be decoded; the message is one line that says why."""


def decode_image(data: bytes) -> Image.Image:
    """Return a picture as an upright RGB image.

    Gray of more than 8 bits is scaled to 8, transparent pixels lie on white, and an animation is
    its first frame.

    Args:
        data: Content of a file in one of ``FORMATS``.

    Raises:
        ImageDecodeError: It is no picture, damaged, or has more than ``MAX_PIXELS`` pixels.
    """
    image = _load(data)
    return _rotate_upright(_convert(image), image)


def looks_unchanged(data: bytes) -> bool:
    """Return whether Pillow's own conversion to RGB gives the same pixels as ``decode_image``.

    Both turn a picture upright. The function decodes the picture once.

    Args:
        data: Content of a file in one of ``FORMATS``.

    Raises:
        ImageDecodeError: ``decode_image`` raises it.
    """
    image = _load(data)
    if not _is_special(image):
        return True
    try:
        with _one_line():
            plain = image.convert("RGB")
    except ImageDecodeError:
        return False
    return plain.tobytes() == _convert(image).tobytes()


def _load(data: bytes) -> Image.Image:
    """Return a picture with its pixels in the mode of its file, after a look at its header."""
    if not data:
        raise ImageDecodeError("expected a picture, got an empty file")
    Image.init()
    with _one_line():
        image = Image.open(io.BytesIO(data), formats=sorted(FORMATS & Image.OPEN.keys()))
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        image.load()
        return image


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn any error of Pillow into an ``ImageDecodeError``, and ignore its warnings.

    They are about odd metadata, and about sizes, which have a limit of their own here.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    except UnidentifiedImageError:
        raise ImageDecodeError("expected a picture, got bytes of no format that is read") from None
    except Image.DecompressionBombError:
        raise ImageDecodeError(f"expected at most {MAX_PIXELS:,} pixels, got more") from None
    except Exception as error:  # a damaged file makes Pillow raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ImageDecodeError(f"expected a whole picture, got a damaged one: {reason}") from error


def _is_special(image: Image.Image) -> bool:
    """Return whether Pillow's own conversion to RGB may not show what a person sees."""
    return image.mode in _DEEP_MODES or image.has_transparency_data


def _convert(image: Image.Image) -> Image.Image:
    """Return a picture in RGB, with transparent pixels on white."""
    with _one_line():
        if image.mode in _DEEP_MODES:
            return _scale_to_8_bits(image).convert("RGB")
        if image.has_transparency_data:
            # Pillow knows no direct way from premultiplied gray
            rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
            on_white = Image.new("RGB", image.size, "white")
            on_white.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
            return on_white
        return image.convert("RGB")


def _scale_to_8_bits(image: Image.Image) -> Image.Image:
    """Return a gray picture of integers or fractions in 256 shades."""
    pixels = np.asarray(image)
    black, white = _gray_range(image, pixels)
    # for 16 bits, a table of all values is much faster than the same operations on all pixels
    is_short = image.mode != "F" and black == 0 and white <= 65535
    values = (np.arange(65536) if is_short else pixels).astype(np.float32)
    shades = values
    if (black, white) != (0, 255):  # otherwise fractions of a shade are cut, as Pillow does
        shades = (values - black) * np.float32(255 / (white - black))
        np.rint(shades, out=shades)
    shades = shades.clip(0, 255)
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:
        shades = 255 - shades
    if image.info.get("transparency") is not None:
        shades[values == image.info["transparency"]] = 255
    shades = np.nan_to_num(shades, copy=False).astype(np.uint8)
    return Image.fromarray(shades[pixels] if is_short else shades)


def _gray_range(image: Image.Image, pixels: Any) -> tuple[float, float]:
    """Return the values of black and white.

    White is the highest value of the file's own range where the format tells it, or else of the
    smallest usual range that holds all values: fractions to 1, integers of 8 and of 16 bits. Other
    values, negative ones for example, are spread from the lowest to the highest.

    Args:
        image: Gray picture in a deep mode.
        pixels: (h, w) values.
    """
    finite = pixels
    if image.mode == "F" and not np.isfinite(pixels).all():
        finite = pixels[np.isfinite(pixels)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if image.mode.startswith("I;16"):
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0]  # of a TIFF
        ranges = [2**bits - 1, 65535]
    elif image.mode == "I" and image.format in ("PNG", "PPM"):
        ranges = [65535]
    else:
        ranges = [1, 255, 65535] if image.mode == "F" else [255, 65535]
    usual = next((white for white in ranges if low >= 0 and high <= white), None)
    return (0.0, usual) if usual else (low, max(high, low + 1))


def _rotate_upright(rgb: Image.Image, image: Image.Image) -> Image.Image:
    """Return ``rgb`` turned as the metadata of ``image`` say; damaged metadata turn nothing."""
    try:
        with _one_line():
            orientation = image.getexif().get(ExifTags.Base.Orientation)
    except ImageDecodeError:
        return rgb
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return rgb if turn is None else rgb.transpose(turn)
