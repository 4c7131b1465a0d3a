"""From the annotations of other tools to the MVTec layout, and between that layout and list files."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, count
from pathlib import Path, PurePosixPath

import numpy as np

from blemish.datasets.annotations.annotation import Annotation, Reading, one_per_image
from blemish.datasets.annotations.coco import read_coco
from blemish.datasets.annotations.cvat import read_cvat
from blemish.datasets.annotations.labelme import read_labelme
from blemish.datasets.annotations.labelstudio import read_labelstudio
from blemish.datasets.annotations.lookout import read_lookout
from blemish.datasets.annotations.shapes import Mask
from blemish.datasets.annotations.supervisely import read_supervisely
from blemish.datasets.annotations.via import read_via
from blemish.datasets.annotations.voc import read_voc
from blemish.datasets.annotations.yolo import read_yolo
from blemish.datasets.conversion.from_lists import read_lists
from blemish.datasets.conversion.record import Conversion, ConvertReport
from blemish.datasets.conversion.to_lists import mvtec_to_lists
from blemish.datasets.files import read_file, safe_name, some
from blemish.datasets.samples import GOOD
from blemish.errors import BlemishError, DatasetError, UsageError, did_you_mean
from blemish.images import decode_image, is_image_name
from blemish.images.kinds import USUAL_SUFFIX, image_format
from blemish.images.limits import DEFAULT_LIMITS
from blemish.metrics.rates import counted

Progress = Callable[[str, int, int], None]

_READERS: dict[str, Callable[[Path], Reading]] = {
    "labelme": read_labelme,
    "voc": read_voc,
    "coco": read_coco,
    "yolo": read_yolo,
    "cvat": read_cvat,
    "via": read_via,
    "labelstudio": read_labelstudio,
    "supervisely": read_supervisely,
    "lookout": read_lookout,
    "list": read_lists,
}
KINDS = (*_READERS, "mvtec")
_ALIASES = {
    "mvtec_ad": "mvtec",  # PaddleX's name for it
    **dict.fromkeys(("pascal", "pascal-voc", "pascal_voc", "pascalvoc"), "voc"),
    **dict.fromkeys(("yolo-seg", "yolo-obb", "yolov5", "yolov8", "yolo11", "ultralytics", "darknet"), "yolo"),
    **dict.fromkeys(("label-studio", "label_studio", "labelstudio-min"), "labelstudio"),
    **dict.fromkeys(("vgg", "vgg-image-annotator"), "via"),
    **dict.fromkeys(("manifest", "lookout-for-vision", "lookoutvision", "groundtruth", "sagemaker"), "lookout"),
    **dict.fromkeys(("x-anylabeling", "xanylabeling", "anylabeling"), "labelme"),
}


def source_kind(name: str) -> str:
    """One of `KINDS` for its name in any case, or PaddleX's; `UsageError` for anything else."""
    kind = _ALIASES.get(name.lower(), name.lower())
    if kind not in KINDS:
        raise UsageError(f"Cannot convert from {name}; there are {', '.join(KINDS)}.{did_you_mean(name, KINDS)}")
    return kind


def convert(source: Path, kind: str, output: Path, progress: Progress | None = None) -> ConvertReport:
    """Convert a folder of annotated images into a data set in `output`; the source is only read.

    `kind` is one of `KINDS`. All but `mvtec` become the MVTec layout, with the images copied and masks of
    {0, 255} drawn. An image without a marked defect goes to `train/good`, or to `test/good` if the source's own lists
    keep it from training; an image with defects to `test/<defect>`, the label with the largest area. `mvtec` becomes
    `train.txt` and `val.txt`: beside the images if `output` is the source, else together with copies of them.

    An image that fails is reported and the others are done; an image of which the annotations leave unsure whether it
    is good is in no folder. A killed conversion is completed by the same call.
    Where all of them fail, the report says so and there is no output folder. Raises `DatasetError` if there is nothing
    to convert, or `output` holds anything else.
    """
    kind = source_kind(kind)
    if not source.is_dir():
        raise DatasetError(f"{source}: {'is a file, not a folder' if source.exists() else 'no such folder'}")
    if kind == "mvtec":
        return mvtec_to_lists(source, output, progress)
    conversion = Conversion(source, kind, output)
    done = conversion.finished()
    if done is not None:
        return done
    report = _write_all(conversion, _READERS[kind](source), progress)
    if not report.has_images:
        conversion.abandon()
        return report
    return conversion.finish(report)


def _write_all(conversion: Conversion, reading: Reading, progress: Progress | None) -> ConvertReport:
    images = one_per_image(reading)
    report = ConvertReport(conversion.output, warnings=reading.warnings, failed=reading.failed)
    namer, from_train = _Namer(), []
    if images:
        conversion.begin()
    for number, annotation in enumerate(images, 1):
        try:
            split, kind = _write_one(conversion, annotation, namer, report)
        except BlemishError as error:
            report.failed.append(_failure(annotation, error))
        else:
            report.count(split, kind)
            from_train += [annotation.name] if kind != GOOD and annotation.split == "train" else []
        if progress:
            progress("Converting", number, len(images))
    if from_train:
        report.warnings.append(
            f"{counted(len(from_train), 'image')} with defects listed for training went to test, since a detector "
            f"learns from good images alone: {some(from_train)}"
        )
    return report


def _failure(annotation: Annotation, error: Exception) -> str:
    origin = f" ({annotation.origin})" if annotation.origin != annotation.name else ""
    text = str(error)
    return text if annotation.name in text else f"{annotation.name}{origin}: {text}"


def _write_one(conversion: Conversion, annotation: Annotation, namer: _Namer, report: ConvertReport) -> tuple[str, str]:
    """Write the mask, then the image; returns where it went, as split and type."""
    data = _image_data(annotation)
    height, width = decode_image(data, annotation.name).shape[:2]
    if annotation.size not in (None, (width, height)):
        raise DatasetError(f"has {width}x{height} pixels, but was annotated as one of {annotation.size}")
    kind, mask = _paint(annotation, (height, width), report)
    split = "test" if kind != GOOD else annotation.split or "train"
    stem = namer.stem(f"{split}/{kind}", PurePosixPath(annotation.name))
    if mask is not None:
        conversion.write(f"ground_truth/{kind}/{stem}_mask.png", _png(mask))
    conversion.write(f"{split}/{kind}/{stem}{_ending(annotation.name, data)}", data)
    return split, kind


def _image_data(annotation: Annotation) -> bytes:
    if annotation.embedded is not None and not annotation.image.is_file():
        return annotation.embedded()
    return read_file(annotation.image, DEFAULT_LIMITS.max_bytes)


def _paint(annotation: Annotation, size: tuple[int, int], report: ConvertReport) -> tuple[str, Mask | None]:
    """The type with the largest area, and the mask (H, W) of all defects; no mask where nobody outlined one."""
    labelled = [(shape.label, shape.draw) for shape in annotation.defects]
    if not labelled:
        return GOOD, None
    areas: dict[str, int] = {}
    mask = np.zeros(size, np.uint8)
    for kind in sorted({kind for kind, _ in labelled}):
        part = np.zeros(size, np.uint8)
        for draw in (draw for named, draw in labelled if named == kind and draw is not None):
            draw(part)
        areas[kind] = int(np.count_nonzero(part))
        mask |= part
    largest = max(areas, key=lambda kind: areas[kind])
    if not areas[largest]:
        return _without_mask(annotation, report)
    if len(areas) > 1:
        kinds = ", ".join(f"{kind} {area}" for kind, area in areas.items())
        report.warnings.append(f"{annotation.name}: several types of defects ({kinds} pixels) count as {largest}")
    return largest, mask


def _without_mask(annotation: Annotation, report: ConvertReport) -> tuple[str, None]:
    """The type of a defect that nobody outlined; outlines that cover nothing are a mistake, and no defect."""
    bare = [shape.label for shape in annotation.defects if shape.draw is None]
    if not bare:
        raise DatasetError("no marked defect covers a pixel of the image")
    report.warnings.append(f"{annotation.name}: the defect is not outlined; there is no mask of it")
    return bare[0], None


def _png(mask: Mask) -> bytes:
    import cv2

    return cv2.imencode(".png", mask)[1].tobytes()


def _ending(name: str, data: bytes) -> str:
    """The image's own ending; the one of its format where the name has none that is known."""
    ending = PurePosixPath(name).suffix
    return ending if is_image_name(name) else USUAL_SUFFIX.get(image_format(data) or "", ending)


class _Namer:
    """Gives every image of a folder a stem of its own, also where upper and lower case are one."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, str]] = set()

    def stem(self, folder: str, name: PurePosixPath) -> str:
        """The image's own stem; with its sub-folders before it, or a number behind, if another image has that."""
        own = safe_name(name.stem, "image")
        longer = safe_name("_".join((*name.parts[:-1], name.stem)), "image")
        for stem in chain((own, longer), (f"{own}_{number}" for number in count(2))):
            if (folder, stem.casefold()) not in self._taken:
                break
        self._taken.add((folder, stem.casefold()))
        return stem
