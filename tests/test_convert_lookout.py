"""Manifests of Amazon Lookout for Vision and SageMaker Ground Truth to the MVTec layout."""

from __future__ import annotations

import json

import numpy as np
import pytest
from annotated import HEIGHT, WIDTH, area, names, sorted_into, write_image
from PIL import Image

from blemish.datasets.conversion.convert import convert
from blemish.errors import DatasetError

COLOURS = {
    "0": {"class-name": "BACKGROUND", "hex-color": "#ffffff", "confidence": 0.0},
    "1": {"class-name": "scratch", "hex-color": "#2ca02c", "confidence": 0.0},
    "2": {"class-name": "dent", "hex-color": "#1f77b4", "confidence": 0.0},
}


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "cookies"
    folder.mkdir()
    return folder


@pytest.fixture
def run(source, tmp_path):
    return lambda kind="lookout": convert(source, kind, tmp_path / "out")


def line(image, name, number=None, mask=None, colours=COLOURS):
    entry = {
        "source-ref": image,
        "anomaly-label": number if number is not None else int(name != "normal"),
        "anomaly-label-metadata": {"class-name": name, "type": "groundtruth/image-classification", "confidence": 1},
    }
    if mask:
        entry["anomaly-mask-ref"] = mask
        entry["anomaly-mask-ref-metadata"] = {
            "internal-color-map": colours,
            "type": "groundtruth/semantic-segmentation",
        }
    return entry


def manifest(path, *entries):
    path.write_text("".join(entry if isinstance(entry, str) else json.dumps(entry) + "\n" for entry in entries))


def mask(path, marks, palette=False, ground=(255, 255, 255)):
    """A mask with `[(rows, columns, colour)]`."""
    colours = np.full((HEIGHT, WIDTH, 3), ground, np.uint8)
    for rows, columns, colour in marks:
        colours[rows, columns] = colour
    picture = Image.fromarray(colours)
    path.parent.mkdir(parents=True, exist_ok=True)
    if palette:
        picture.quantize(8, dither=Image.Dither.NONE).save(path)
    else:
        picture.save(path)


GREEN, BLUE = (0x2C, 0xA0, 0x2C), (0x1F, 0x77, 0xB4)


@pytest.mark.parametrize("palette", [False, True])
def test_training_and_test_manifests(palette, source, tmp_path, run):
    for number, name in enumerate(
        ("training-images/n-1.jpg", "training-images/a-1.jpg", "test-images/n-2.jpg", "test-images/a-2.jpg", "x.jpg")
    ):
        write_image(source / name, number)
    mask(
        source / "mask-images/a-1.png", [(slice(5, 9), slice(10, 20), GREEN), (slice(20, 22), slice(5), BLUE)], palette
    )
    s3 = "s3://bucket/cookies"
    manifest(
        source / "train.manifest",
        line(f"{s3}/training-images/n-1.jpg", "normal"),
        line(f"{s3}/training-images/a-1.jpg", "anomaly", mask=f"{s3}/mask-images/a-1.png"),
    )
    manifest(
        source / "test.manifest",
        line(f"{s3}/test-images/n-2.jpg", "normal"),
        line(f"{s3}/test-images/a-2.jpg", "anomaly"),
    )
    report = run()
    assert sorted_into(tmp_path / "out") == {
        "train/good": {"n-1.jpg"},
        "test/good": {"n-2.jpg"},
        "test/scratch": {"a-1.jpg"},
        "test/anomaly": {"a-2.jpg"},
    }
    assert area(tmp_path / "out", "scratch", "a-1") == 4 * 10 + 2 * 5 and report.failed == []
    assert [w for w in report.warnings if "in no manifest" in w] == ["1 image in no manifest, left out: x.jpg"]


def test_the_class_name_counts_and_not_the_number(source, tmp_path, run):
    """As in the service's own documentation, whose example has 1 and normal."""
    for number, name in enumerate("abc"):
        write_image(source / f"{name}.png", number)
    bare = {"source-ref": "s3://x/c.png", "anomaly-label": 1}
    manifest(source / "x.manifest", line("s3://x/a.png", "normal", 1), line("s3://x/b.png", "anomaly", 0), bare)
    run("manifest")
    assert sorted_into(tmp_path / "out") == {"train/good": {"a.png"}, "test/anomaly": {"b.png", "c.png"}}


def test_image_and_mask_of_one_name(source, tmp_path, run):
    for name in ("images/a.png", "images/b.png"):
        write_image(source / name)
    mask(source / "masks/a.png", [(slice(4), slice(4), GREEN)])
    mask(source / "masks/b.png", [])
    manifest(
        source / "x.manifest",
        line("s3://bucket/images/a.png", "anomaly", mask="s3://bucket/masks/a.png"),
        line("s3://bucket/images/b.png", "normal", mask="s3://bucket/masks/b.png"),
    )
    run()
    assert sorted_into(tmp_path / "out") == {"train/good": {"b.png"}, "test/scratch": {"a.png"}}


def test_a_missing_mask_leaves_a_defect_without_one(source, tmp_path, run):
    write_image(source / "a.png")
    manifest(source / "x.manifest", line("s3://b/a.png", "anomaly", mask="s3://b/masks/a.png"))
    report = run()
    assert sorted_into(tmp_path / "out") == {"test/anomaly": {"a.png"}}
    assert any("not outlined" in warning for warning in report.warnings)


def test_boxes_and_classes_of_ground_truth(source, tmp_path, run):
    for number, name in enumerate("abcd"):
        write_image(source / f"{name}.png", number)
    about = {"class-map": {"0": "dent"}, "type": "groundtruth/object-detection"}
    boxes = {"annotations": [{"class_id": 0, "left": 10, "top": 5, "width": 10, "height": 4}], "image_size": []}
    several = {"class-map": {"1": "crack", "3": "dent"}, "type": "groundtruth/image-classification-multilabel"}
    manifest(
        source / "output.manifest",
        {"source-ref": "s3://b/a.png", "boxes": boxes, "boxes-metadata": about},
        {"source-ref": "s3://b/b.png", "boxes": {"annotations": []}, "boxes-metadata": about},
        {"source-ref": "s3://b/c.png", "kinds": [1, 3], "kinds-metadata": several},
        {"source-ref": "s3://b/d.png"},
    )
    report = run()
    assert sorted_into(tmp_path / "out") == {
        "train/good": {"b.png"},
        "test/dent": {"a.png"},
        "test/crack": {"c.png"},
    }
    assert area(tmp_path / "out", "dent", "a") == 40 and any("d.png" in warning for warning in report.warnings)


def test_a_normal_image_with_a_mark_is_left_out(source, tmp_path, run):
    for name in ("a.png", "b.png"):
        write_image(source / name)
    mask(source / "masks/m.png", [(slice(4), slice(4), GREEN)])
    manifest(
        source / "x.manifest", line("s3://b/a.png", "normal", mask="s3://b/masks/m.png"), line("s3://b/b.png", "normal")
    )
    assert "is called good" in run().failed[0] and sorted_into(tmp_path / "out") == {"train/good": {"b.png"}}


BAD = {
    "no JSON": "{\n",
    "a list": "[1]\n",
    "deep": "[" * 100_000 + "\n",
    "a colour of nobody": line("s3://b/a.png", "anomaly", mask="s3://b/masks/strange.png"),
    "no colours": line("s3://b/a.png", "anomaly", mask="s3://b/masks/fine.png", colours={"1": {"class-name": "x"}}),
    "a text as mask": line("s3://b/a.png", "anomaly", mask="s3://b/masks/text.png"),
    "another size": line("s3://b/a.png", "anomaly", mask="s3://b/masks/small.png"),
    "a class of nobody": {
        "source-ref": "a.png",
        "b": {"annotations": [{"class_id": 7, "left": 1, "top": 1, "width": 1, "height": 1}]},
        "b-metadata": {"class-map": {"0": "x"}},
    },
    "no numbers": {
        "source-ref": "a.png",
        "b": {"annotations": [{"class_id": 0, "left": None, "top": 1, "width": 1, "height": 1}]},
        "b-metadata": {"class-map": {"0": "x"}},
    },
    "nowhere": line("s3://b/gone.png", "normal"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_line_leaves_its_image_out(bad, source, tmp_path, run):
    for name in "ab":
        write_image(source / f"{name}.png")
    mask(source / "masks/strange.png", [(slice(4), slice(4), (1, 2, 3))])
    mask(source / "masks/fine.png", [(slice(4), slice(4), GREEN)])
    Image.new("RGB", (5, 5), GREEN).save(source / "masks/small.png")
    (source / "masks/text.png").write_text("no picture")
    manifest(source / "x.manifest", bad, line("s3://b/b.png", "normal"))
    assert len(run().failed) == 1 and names(tmp_path / "out") == {"train/good/b.png"}


def test_nothing_to_convert(source, run):
    with pytest.raises(DatasetError, match="no manifest"):
        run()
