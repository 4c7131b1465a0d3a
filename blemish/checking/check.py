"""`check_dataset`: survey, audits, pictures, and the record of it all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blemish.calibration import LEAST_IMAGES, UNSURE_PARTS, OddFolder
from blemish.checking import audit
from blemish.checking.duplicates import copy_findings, is_learnt, near_findings
from blemish.checking.findings import CheckReport, Finding
from blemish.checking.histogram import save_histogram
from blemish.checking.oddities import Look, Oddity
from blemish.checking.pictures import choose, save_demo_images, save_oddities
from blemish.checking.sample_ranges import sample_findings
from blemish.checking.survey import ImageFacts, survey
from blemish.datasets import Dataset, GoodImages, load_dataset
from blemish.datasets.files import write_whole
from blemish.detectors import Progress
from blemish.errors import BlemishError, UsageError
from blemish.models.files import sibling
from blemish.sample_range import FULL, BitDepth, SampleRange

RESULT = "check_dataset_result.json"
FOLDER = "check_dataset"
PARTIAL = ".partial"


def check_dataset(
    folder: Path,
    output: Path,
    progress: Progress | None = None,
    *,
    bit_depth: BitDepth = FULL,
    good: Sequence[str] = (),
    leave_out: Sequence[str] = (),
) -> CheckReport:
    """Audit a data set, and write `check_dataset_result.json` and `check_dataset/` with its pictures into `output`.

    Nothing is ever written into the data set. The JSON file is removed first and written last: where it is, the check
    ran to its end. `bit_depth` says which samples of 16-bit files are black and white, as `Model.bit_depth` does.
    `good` names folders that are good whatever they are called, `leave_out` images that do not count.

    Raises `DatasetError` for a folder that is no data set, and `UsageError` for an output inside of it.
    """
    if output.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"The output folder {output} lies in the data set {folder}; give another one with --output.")
    output.mkdir(parents=True, exist_ok=True)
    result = output / RESULT
    result.unlink(missing_ok=True)
    report = progress or _silent
    try:
        with _work_folder(output) as work:
            findings, record = _check(folder, work, report, SampleRange.of(bit_depth), (good, leave_out))
            _replace(work, output / FOLDER)
    except BlemishError as error:
        _write(
            result, {"done_flag": False, "check_pass": False, "err_type": type(error).__name__, "err_msg": str(error)}
        )
        raise
    attributes = record["attributes"]
    done = CheckReport(folder, result, attributes["train_samples"], attributes["val_samples"], findings)
    _write(result, {"done_flag": True, "check_pass": done.passed, **record})
    return done


def _check(
    folder: Path, work: Path, progress: Progress, bit_depth: SampleRange, named: tuple[Sequence[str], Sequence[str]]
) -> tuple[tuple[Finding, ...], dict[str, Any]]:
    bad_lines: list[Finding] = []

    def refuse(source: Path, number: int, problem: str) -> None:
        bad_lines.append(Finding("unreadable_list_line", f"line {number}: {problem}", (source.name,)))

    dataset = load_dataset(folder, refuse, *named)
    images = survey(dataset, bit_depth, lambda done, total: progress("images", done, total))
    findings = [*bad_lines, *_audit(dataset, images)]
    known = {name for finding in findings if finding.severity == "error" for name in finding.files}
    sound = [facts for facts in images if facts.is_readable and facts.sample.name not in known]
    look = _look(dataset, sound, bit_depth, progress)
    seen, oddities = ([], []) if look is None else _seen(look, sound)
    seen += _parts(images, look)
    shown = {
        split: save_demo_images(choose(images, split), work / "demo_img" / folder_name, bit_depth)
        for split, folder_name in (("train", "train"), ("test", "val"))
    }
    save_oddities(oddities, work / "suspicious")
    save_histogram(dataset, images, work / "histogram.png")
    ordered = audit.in_order([*findings, *seen])
    return ordered, _record(dataset, shown, ordered)


def _audit(dataset: Dataset, images: list[ImageFacts]) -> Iterator[Finding]:
    yield from audit.file_findings(images)
    yield from audit.training_findings(dataset, images)
    yield from audit.mask_findings(dataset.root, images)
    yield from audit.repeated_masks(images)
    yield from copy_findings(images)
    yield from audit.mixture_findings(images)
    yield from sample_findings(images)
    yield from audit.unused_files(dataset)


def _parts(images: list[ImageFacts], look: Look | None) -> Iterator[Finding]:
    """Images that show one part, and what so few parts support."""
    near, different = near_findings(images, {} if look is None else look.part_numbers())
    yield from near
    if look is not None and look.found.unsure:
        yield Finding("unsure_parts", UNSURE_PARTS)
    few = audit.count_finding(different)
    if few is not None:
        yield few
    yield from audit.session_findings(images)


def _look(dataset: Dataset, sound: list[ImageFacts], bit_depth: SampleRange, progress: Progress) -> Look | None:
    """A detector's look at the pictures without an error, once there are enough good ones."""
    good = [facts.sample for facts in sound if is_learnt(facts.sample)]
    if len(good) < LEAST_IMAGES:
        return None
    names = GoodImages(dataset.root, tuple(sample.path for sample in good), tuple(sample.name for sample in good))
    return Look(names, bit_depth, progress)


def _seen(look: Look, sound: list[ImageFacts]) -> tuple[list[Finding], list[Oddity]]:
    """What the look has found of single images and of masks."""
    oddities = look.odd_images()
    findings = []
    if oddities:
        message = "odd among the good images; see check_dataset/suspicious and confirm that they are good"
        findings.append(Finding("suspicious_image", message, tuple(odd.name for odd in oddities)))
    findings += [_folder_finding(folder, all_over) for folder, all_over in look.odd_folders()]
    marked = [facts.sample for facts in sound if facts.mask and facts.mask.share and not facts.sample.is_good]
    for pair in look.swapped_masks(marked):
        message = "each mask fits the other image better; were they swapped?"
        findings.append(Finding("swapped_masks", message, tuple(sample.name for sample in pair)))
    return findings, oddities


def _folder_finding(folder: OddFolder, all_over: bool) -> Finding:
    """What a folder that is odd as a whole may be."""
    count = f"{len(folder.odd)} of the {folder.images} images in {folder.name} stand apart from those of other folders"
    if all_over:
        message = f"{count}, all over the picture; another camera or product? Train a model of its own, or add images"
        return Finding("unlike_folder", message, folder.odd)
    message = f"{count}, in places; the folder seems to hold defects, so move it out of the good images"
    return Finding("odd_folder", message, folder.odd)


def _record(dataset: Dataset, shown: dict[str, list[str]], findings: tuple[Finding, ...]) -> dict[str, Any]:
    """The tutorials' fields, and ours."""
    return {
        "attributes": {
            "train_sample_paths": [f"{FOLDER}/demo_img/train/{name}" for name in shown["train"]],
            "val_sample_paths": [f"{FOLDER}/demo_img/val/{name}" for name in shown["test"]],
            "train_samples": len(dataset.train),
            "val_samples": len(dataset.test),
            "num_classes": 1,
        },
        "analysis": {"histogram": f"{FOLDER}/histogram.png"},
        "dataset_path": str(dataset.root),
        "show_type": "image",
        "dataset_type": "SegDataset",
        "layout": dataset.layout,
        "findings": [finding.to_json() for finding in findings],
    }


def _silent(stage: str, done: int, total: int, detail: str = "") -> None:
    """No progress shown."""


@contextmanager
def _work_folder(output: Path) -> Iterator[Path]:
    """A hidden folder for what is not complete yet; those of runs that were killed are removed."""
    for left in output.glob(f".{FOLDER}.*{PARTIAL}"):
        shutil.rmtree(left, ignore_errors=True)
    work = sibling(output / FOLDER, PARTIAL)
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _replace(work: Path, target: Path) -> None:
    """Put the new pictures in the place of an earlier run's; other files there are left alone."""
    target.mkdir(exist_ok=True)
    for name in ("demo_img", "suspicious", "histogram.png"):
        old = target / name
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
        if (work / name).exists():
            (work / name).rename(old)


def _write(path: Path, record: dict[str, Any]) -> None:
    content = json.dumps(record, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace")
    write_whole(path, content, synced=True)
