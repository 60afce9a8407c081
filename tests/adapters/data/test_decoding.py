"""Every file that holds a picture is decoded to what a person sees of it."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import CHANGED, SHADES, UNCHANGED, file_of
from PIL import Image, ImageOps

from mlflow_recall.adapters.data import decoding
from mlflow_recall.adapters.data.decoding import ImageDecodeError, decode_image, looks_unchanged

#: shades that JPEG, CMYK and LAB may be off by
TOLERANCE = 4


@pytest.mark.parametrize("name", [*UNCHANGED, *CHANGED])
def test_the_same_picture_looks_the_same_from_every_file(name: str) -> None:
    """How a file encodes a picture says nothing about its class."""
    decoded = decode_image({**UNCHANGED, **CHANGED}[name])

    assert decoded.mode == "RGB"
    pixels = np.asarray(decoded).astype(int)
    assert pixels.shape == (*SHADES.shape, 3)
    assert np.abs(pixels - SHADES[..., None]).max() <= TOLERANCE


@pytest.mark.parametrize("name", UNCHANGED)
def test_what_pillow_shows_right_is_unchanged(name: str) -> None:
    """Such datasets keep their digests; earlier versions let ``datasets`` turn them upright."""
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(UNCHANGED[name])))

    assert looks_unchanged(UNCHANGED[name])
    assert decode_image(UNCHANGED[name]).tobytes() == upright.convert("RGB").tobytes()


@pytest.mark.parametrize("name", CHANGED)
def test_what_pillow_shows_otherwise_is_changed(name: str) -> None:
    """A dataset that now looks otherwise to a model is another dataset."""
    assert not looks_unchanged(CHANGED[name])


def test_a_bit_is_black_or_white() -> None:
    picture = Image.new("1", (2, 1))
    picture.putpixel((1, 0), 255)

    assert list(decode_image(file_of(picture)).tobytes()) == [0] * 3 + [255] * 3


def test_colors_stay_where_they_are() -> None:
    """Channels are not mixed up on the way, with alpha or turned."""
    picture = Image.new("RGBA", (3, 1), (255, 0, 0, 255))
    picture.putpixel((1, 0), (0, 255, 0, 255))
    picture.putpixel((2, 0), (0, 0, 255, 0))  # cannot be seen

    decoded = decode_image(file_of(picture))

    assert [decoded.getpixel((x, 0)) for x in range(3)] == [
        (255, 0, 0),
        (0, 255, 0),
        (255, 255, 255),
    ]


def test_infinity_and_nan_are_shades_too() -> None:
    """Instruments mark missing pixels with NaN."""
    pixels = np.array([[0.0, 1.0, np.nan, np.inf, -np.inf]], dtype=np.float32)

    decoded = np.asarray(decode_image(file_of(Image.fromarray(pixels), "TIFF")))

    assert decoded[0, :, 0].tolist() == [0, 255, 0, 255, 0]


@pytest.mark.parametrize("value", [0.0, -3.0, 1e9])
def test_a_picture_of_one_value_is_decoded(value: float) -> None:
    """There is no range to spread."""
    pixels = np.full((2, 2), value, dtype=np.float32)

    assert np.unique(np.asarray(decode_image(file_of(Image.fromarray(pixels), "TIFF")))) == [0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "got an empty file"),
        (b"<html>404</html>", "got bytes of no format that is read"),
        (UNCHANGED["RGB"][:60], "got a damaged one"),
        (UNCHANGED["JPEG"][:-30], "got a damaged one: image file is truncated"),
        (CHANGED["16-bit TIFF"][:-20], "got a damaged one"),
        (file_of(Image.new("L", (3, 3)), "EPS"), "got bytes of no format that is read"),
    ],
)
def test_what_cannot_be_decoded_is_one_line(data: bytes, message: str) -> None:
    """The reason is counted and printed with the name of the file."""
    for decode in (decode_image, looks_unchanged):
        with pytest.raises(ImageDecodeError, match=message) as error:
            decode(data)
        assert "\n" not in str(error.value)
        assert "0x" not in str(error.value)  # no address of an object


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Decoding it would take the memory that the limit protects."""
    data = file_of(Image.new("L", (40, 30)), kind)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1199)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))

    with pytest.raises(ImageDecodeError, match="expected at most 1,199 pixels, got more"):
        decode_image(data)


def test_a_picture_beyond_pillows_own_limit_is_refused_alike() -> None:
    """Pillow warns of some sizes and refuses others; nobody sees either."""
    header = bytearray(file_of(Image.new("L", (1, 1))))
    header[16:24] = (50_000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")

    with pytest.raises(ImageDecodeError, match="expected at most 100,000,000 pixels, got more"):
        decode_image(bytes(header))


@given(
    st.sampled_from(sorted({**UNCHANGED, **CHANGED})),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_a_damaged_file_is_decoded_or_one_error(name: str, changes: list[tuple[int, int]]) -> None:
    """A broken file must not end a whole dataset with a traceback."""
    data = bytearray({**UNCHANGED, **CHANGED}[name])
    for position, value in changes:
        data[position % len(data)] = value

    try:
        decoded = decode_image(bytes(data))
    except ImageDecodeError:
        return
    assert decoded.mode == "RGB"
