"""Which TIFF frames are decoded rightly, and in plain words why another one is not."""

from __future__ import annotations

from enum import IntEnum

from blemish.images.tiff import Frame, Tag

_READ = frozenset((1, 2, 3, 4, 5, 7, 8, 32773, 32946))
_WITH_PREDICTOR = frozenset((5, 8, 32946))
_BILEVEL = frozenset((2, 3, 4))
_JPEG = 7
_TILE_UNIT = 1024  # bytes
_COMPRESSIONS = {
    6: "JPEG of the old kind",
    9: "JBIG",
    10: "JBIG",
    99: "JPEG",
    262: "Kodak 262",
    32766: "NeXT RLE",
    32769: "packed raw data",
    32770: "Samsung raw",
    32771: "CCITT RLE with words",
    32772: "Samsung raw",
    32809: "ThunderScan",
    32867: "Kodak raw",
    32895: "IT8 CT",
    32896: "IT8 line work",
    32897: "IT8 monochrome",
    32898: "IT8 bilevel",
    32908: "Pixar film",
    32909: "Pixar log",
    32947: "Kodak DCS",
    33003: "JPEG 2000 of Aperio",
    33004: "JPEG 2000 of Aperio",
    33005: "JPEG 2000 of Aperio",
    34661: "JBIG",
    34676: "SGI log",
    34677: "SGI log of 24 bits",
    34692: "LuraDocument",
    34712: "JPEG 2000",
    34713: "Nikon raw",
    34715: "JBIG2",
    34887: "LERC",
    34892: "lossy JPEG (DNG)",
    34925: "LZMA",
    34926: "Zstandard",
    34927: "WebP",
    34933: "PNG",
    34934: "JPEG XR",
    48124: "Jetraw",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    50013: "PIXTIFF",
    52546: "JPEG XL",
}
_FORMATS = {2: "int", 3: "float", 5: "complex int", 6: "complex float"}


class Colours(IntEnum):
    """Values of the tag PhotometricInterpretation."""

    WHITE_IS_ZERO = 0
    BLACK_IS_ZERO = 1
    RGB = 2
    PALETTE = 3
    CMYK = 5
    YCBCR = 6


_OTHER_COLOURS = {
    4: "a transparency mask",
    **dict.fromkeys((8, 9, 10), "in L*a*b* colour"),
    32803: "a colour filter mosaic (raw)",
    **dict.fromkeys((32844, 32845), "in logarithmic colour (SGI LogLuv)"),
    34892: "linear raw",
}
_DEEP = frozenset((10, 12, 14, 16))
_BITS = {
    Colours.WHITE_IS_ZERO: _DEEP | {1, 8},
    Colours.BLACK_IS_ZERO: _DEEP | {1, 8},
    Colours.RGB: _DEEP | {8},
    Colours.PALETTE: frozenset((1, 4, 8)),
    Colours.CMYK: frozenset((8,)),
    Colours.YCBCR: frozenset((8,)),
}
_COLOUR_SAMPLES = {Colours.RGB: 3, Colours.CMYK: 4, Colours.YCBCR: 3}


def why_frame_unsupported(frame: Frame) -> str | None:
    """Why a frame is not decoded, as in "name: REASON"; None for kinds that are proven to be read rightly."""
    return _compression(frame) or _samples(frame) or _colours(frame) or _layout(frame) or _tiles(frame)


def stated_largest(frame: Frame) -> int | None:
    """The largest sample of 10, 12 or 14 bits, which come shifted to the top of 16; None for whole bytes."""
    bits = frame.bits[0]
    return (1 << bits) - 1 if bits in _DEEP - {16} else None


def _compression(frame: Frame) -> str | None:
    compression = frame.first(Tag.COMPRESSION, 1)
    if compression not in _READ:
        named = _COMPRESSIONS.get(compression, f"method {compression}")
        return f"is compressed with {named}, which is not supported; save it with LZW or deflate"
    predictor = frame.first(Tag.PREDICTOR, 1)
    if predictor != 1 and compression not in _WITH_PREDICTOR | _BILEVEL | {_JPEG}:
        return "has a predictor without LZW or deflate, which is not supported"
    return "has a floating-point predictor, which is not supported" if predictor not in (1, 2) else None


def _samples(frame: Frame) -> str | None:
    bits, number = frame.bits, frame.first(Tag.SAMPLES, 1)
    form = frame.first(Tag.SAMPLE_FORMAT, 1)
    if form in _FORMATS:
        return f"has {_FORMATS[form]}{bits[0]} samples, which are not supported; save it with 8 or 16 bits, unsigned"
    if len(set(bits)) > 1:
        return f"has samples of {', '.join(map(str, bits[:4]))} bits, which is not supported"
    if len(bits) != number or number > 4:
        return f"has {number} samples per pixel, which is not supported"
    if bits[0] not in _DEEP | {1, 2, 4, 8}:
        return f"has {bits[0]} bits per sample, which is not supported; save it with 8 or 16 bits"
    return None


def _colours(frame: Frame) -> str | None:
    colours, bits, number = frame.first(Tag.PHOTOMETRIC, -1), frame.bits[0], frame.first(Tag.SAMPLES, 1)
    if colours not in _BITS:
        named = _OTHER_COLOURS.get(colours, "of no colour kind" if colours < 0 else f"of the colour kind {colours}")
        return f"is {named}, which is not supported; convert it to RGB"
    if bits not in _BITS[Colours(colours)]:
        return f"has {bits} bits per sample in {_name(colours)}, which is not supported; save it with 8 or 16 bits"
    least = _COLOUR_SAMPLES.get(Colours(colours), 1)
    if number < least or (colours in (Colours.CMYK, Colours.YCBCR) and number > least):
        return f"has {number} samples per pixel in {_name(colours)}, which is not supported"
    if least == 1 and bits != 8 and number > (2 if bits == 16 else 1):
        return f"has {number} samples of {bits} bits per pixel in grey, which is not supported"
    return None


def _layout(frame: Frame) -> str | None:
    bits, colours = frame.bits[0], frame.first(Tag.PHOTOMETRIC, -1)
    if frame.separate_planes and (bits != 8 or colours == Colours.YCBCR):
        kind = "16-bit" if bits > 8 else _name(colours)
        return f"is a {kind} TIFF file with separate colour planes, which is not supported"
    if frame.first(Tag.COMPRESSION, 1) == _JPEG and (bits != 8 or colours == Colours.PALETTE):
        return f"is compressed with {bits}-bit JPEG in {_name(colours)}, which is not supported"
    return None


def _tiles(frame: Frame) -> str | None:
    """libtiff pads the buffer of an uncompressed tile to whole KiB, and then refuses it for not being full."""
    (width, height), samples = frame.tile, frame.first(Tag.SAMPLES, 1)
    samples = 1 if frame.separate_planes else samples
    size = (width * samples * frame.bits[0] + 7) // 8 * height
    if (
        Tag.TILE_WIDTH not in frame.values
        or frame.first(Tag.COMPRESSION, 1) != 1
        or frame.bits[0] > 8
        or size % _TILE_UNIT == 0
    ):
        return None
    return f"has uncompressed tiles of {width}x{height} pixels, which is not supported; save it in strips or with LZW"


def _name(colours: int) -> str:
    names = {Colours.PALETTE: "a palette", Colours.RGB: "RGB", Colours.CMYK: "CMYK", Colours.YCBCR: "YCbCr"}
    return names.get(Colours(colours), "grey")
