"""What a file is by its first bytes: an image that is read, or something else that has a name."""

from __future__ import annotations

import re

from blemish.images.tiff import TIFF_SIGNATURES

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"\x59\xa6\x6a\x95": "SUN",
    b"%PDF-": "PDF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    **dict.fromkeys(TIFF_SIGNATURES, "TIFF"),
}
USUAL_SUFFIX = {
    "AVIF": ".avif",
    "BMP": ".bmp",
    "GIF": ".gif",
    "JPEG": ".jpg",
    "JPEG 2000": ".jp2",
    "PDF": ".pdf",
    "PNG": ".png",
    "PNM": ".ppm",
    "SUN": ".ras",
    "TIFF": ".tif",
    "WEBP": ".webp",
}
_OTHERS = {
    b"\xff\x0a": "a JPEG XL file",
    b"\0\0\0\x0cJXL \r\n\x87\n": "a JPEG XL file",
    b"8BPS": "a Photoshop file",
    b"v/1\x01": "an OpenEXR file",
    b"\x93NUMPY": "a NumPy array",
    b"II\xbc\x01": "a JPEG XR file",
    b"II\xbc\0": "a JPEG XR file",
    b"qoif": "a QOI file",
    b"SIMPLE  =": "a FITS file",
    b"\x89HDF": "an HDF5 file",
    b"\0\0\1\0": "an icon",
    b"DDS ": "a DDS file",
    b"BPG\xfb": "a BPG file",
    b"P7\n": "a PAM file",
    b"PF\n": "a floating-point PFM file",
    b"Pf\n": "a floating-point PFM file",
    b"#?": "a Radiance HDR file",
    b"FUJIFILMCCD-RAW": "a camera raw file",
    b"gimp xcf": "a GIMP file",
    b"\x8aMNG": "an MNG file",
    b"\x1aE\xdf\xa3": "a video",
    b"PK\3\4": "a zip file",
    b"\x1f\x8b": "a gzip file",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"<svg": "an SVG drawing",
    b"version https://git-lfs": "a pointer of Git LFS instead of the image; fetch it with `git lfs pull`",
}
_PNM = re.compile(rb"P[1-6][\s#]")
_AVIF, _HEIF = (b"avif", b"avis"), (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def image_format(data: bytes) -> str | None:
    """The name of the format by the content's signature, such as JPEG, PNG, TIFF or PDF; None for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if _PNM.match(data[:3]):
        return "PNM"
    if data[4:8] == b"ftyp":
        return "AVIF" if any(brand in _AVIF for brand in _brands(data)) else None
    return next((name for signature, name in _SIGNATURES.items() if data.startswith(signature)), None)


def other_format(data: bytes) -> str | None:
    """What a file is that is no image which is read, as in "is NAME"; None for what is not known either."""
    if data[4:8] == b"ftyp":
        brands = _brands(data)
        if brands[0] == b"crx ":
            return "a camera raw file"
        return "a HEIC file" if any(brand in _HEIF for brand in brands) else "a video"
    if data[128:132] == b"DICM":
        return "a DICOM file"
    return next((name for signature, name in _OTHERS.items() if data.startswith(signature)), None)


def _brands(data: bytes) -> list[bytes]:
    """The main brand of an ISO base media file, then those that it is compatible with."""
    size = min(int.from_bytes(data[:4], "big"), 256, len(data))
    return [data[8:12], *(data[at : at + 4] for at in range(16, size, 4))]
