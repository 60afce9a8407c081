"""One gray picture in every way that files hold one, and what a person sees of it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms

#: (h, w) shades: no turn or flip leaves it as it is, and its corners are black and white
SHADES = np.round(np.linspace(0, 255, 48)).astype(np.uint8).reshape(6, 8)
#: EXIF's and TIFF's tag of the orientation
_ORIENTATION = 0x0112


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return the content of an image file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _gray(pixels: Any, kind: str = "TIFF", **options: Any) -> bytes:
    return file_of(Image.fromarray(pixels), kind, **options)


def _palette(colors: Any, **options: Any) -> bytes:
    """The shades as indices from the end of a palette of 256 grays."""
    image = Image.fromarray(255 - SHADES)
    image.putpalette(np.repeat(colors, 3).tolist())
    return file_of(image, **options)


def _transparent(mode: str, kind: str = "PNG", **options: Any) -> bytes:
    """Black, as opaque as the shade is dark."""
    image = Image.new(mode, (8, 6))
    image.putalpha(Image.fromarray(255 - SHADES))
    return file_of(image, kind, **options)


def _turned(kind: str, orientation: int, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    turned = _PLAIN.transpose(_INVERSE_TURNS[orientation])
    return file_of(turned, kind, exif=exif, **options)


def _white_is_zero() -> bytes:
    """A TIFF of inverted shades that says so, which Pillow does not write."""
    entry = b"\x06\x01\x03\x00\x01\x00\x00\x00"
    return _gray(65535 - _DEEP).replace(entry + b"\x01", entry + b"\x00")


def _lab() -> bytes:
    rgb, lab = (ImageCms.createProfile(space) for space in ("sRGB", "LAB"))
    transform = ImageCms.buildTransform(rgb, lab, "RGB", "LAB")
    return file_of(transform.apply(_COLOR), "TIFF")


_PLAIN = Image.fromarray(SHADES)
_COLOR = _PLAIN.convert("RGB")
_DEEP = SHADES.astype(np.uint16) * 257
_GRAYS = np.arange(256, dtype=np.uint8)
_FINE: dict[str, Any] = {"quality": 100, "subsampling": 0}
#: orientation -> what was done to the picture, which a viewer undoes
_INVERSE_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}

#: files that Pillow's own conversion to RGB shows as a person sees them
UNCHANGED = {
    "gray": file_of(_PLAIN),
    "RGB": file_of(_COLOR),
    "JPEG": file_of(_PLAIN, "JPEG", **_FINE),
    "WebP": file_of(_COLOR, "WEBP", lossless=True),
    "CMYK TIFF": file_of(_COLOR.convert("CMYK"), "TIFF"),
    "CMYK JPEG of Adobe": file_of(_COLOR.convert("CMYK"), "JPEG", **_FINE),
    "YCbCr TIFF": file_of(_COLOR.convert("YCbCr"), "TIFF"),
    "LAB TIFF": _lab(),
    "palette": _palette(255 - _GRAYS),
    "opaque RGBA": file_of(_PLAIN.convert("RGBA")),
    "opaque gray with alpha": file_of(_PLAIN.convert("LA")),
    "integers to 255": _gray(SHADES.astype(np.int32)),
    "floats to 255": _gray(SHADES.astype(np.float32)),
    "animation": file_of(_PLAIN, "GIF", save_all=True, append_images=[_PLAIN.rotate(180)]),
    **{f"PNG, orientation {number}": _turned("PNG", number) for number in _INVERSE_TURNS},
    "JPEG, orientation 6": _turned("JPEG", 6, **_FINE),
    "TIFF, orientation 6": _turned("TIFF", 6),
}
#: files that it does not
CHANGED = {
    "16-bit PNG": _gray(_DEEP, "PNG"),
    "16-bit TIFF": _gray(_DEEP),
    "16-bit TIFF where white is 0": _white_is_zero(),
    "16-bit PGM": _gray(_DEEP, "PPM"),
    "16-bit PNG with a transparent shade": _gray(
        np.where(_DEEP == 65535, 7, _DEEP).astype(np.uint16), "PNG", transparency=7
    ),
    "integers to 65535": _gray(_DEEP.astype(np.int32)),
    "negative integers": _gray(_DEEP.astype(np.int32) * 3 - 70000),
    "floats to 1": _gray(SHADES.astype(np.float32) / 255),
    "floats to 65535": _gray(_DEEP.astype(np.float32)),
    "negative floats": _gray(SHADES.astype(np.float32) / 100 - 1),
    "RGBA": _transparent("RGBA"),
    "RGBA WebP": _transparent("RGBA", "WEBP", lossless=True, exact=True),
    "gray with alpha": _transparent("LA"),
    "palette with a transparent color": _palette([0, *range(254, -1, -1)], transparency=0),
    "palette with alpha": _palette([0] * 256, transparency=bytes(range(256))),
}
