"""From the MVTec layout to PaddleX's list files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from blemish.datasets.conversion.record import Conversion, ConvertReport
from blemish.datasets.files import naming, read_file, some
from blemish.datasets.layouts.loading import load_folders
from blemish.datasets.lists.reading import LISTS
from blemish.datasets.lists.writing import finish_lists, list_text, write_lists
from blemish.datasets.samples import Dataset, Sample, relative_name
from blemish.errors import DatasetError
from blemish.images.limits import DEFAULT_LIMITS
from blemish.metrics.rates import counted

Progress = Callable[[str, int, int], None]


def mvtec_to_lists(source: Path, output: Path, progress: Progress | None = None) -> ConvertReport:
    """Write `train.txt` with `train/good`, and `val.txt` with all of `test`, the good images included.

    If `output` is the source, the lists go beside the images, and older ones are kept as `.bak`. Else the images and
    masks are copied to `output` under the same names.
    """
    dataset = load_folders(source)
    if dataset.layout == "plain" or not (dataset.train or dataset.test):
        raise DatasetError(f"{source} has no images in train/good or test/<defect>, which is the MVTec layout")
    texts = {LISTS["train"]: list_text(source, dataset.train), LISTS["test"]: list_text(source, dataset.test)}
    report = _report(dataset, output)
    if output.resolve() == source.resolve():
        backups = [*finish_lists(source), *write_lists(source, texts)]
        report.warnings += [f"an older list is kept as {backup.name}" for backup in backups]
        return report
    conversion = Conversion(source, "mvtec", output)
    done = conversion.finished()
    if done is not None:
        return done
    conversion.begin()
    _copy(conversion, _files(source, (*dataset.train, *dataset.test)), progress)
    for name, text in texts.items():
        conversion.write(name, text.encode())
    return conversion.finish(report)


def _report(dataset: Dataset, output: Path) -> ConvertReport:
    report = ConvertReport(output)
    for sample in (*dataset.train, *dataset.test):
        report.count(sample.split, sample.kind)
    bare = [sample.name for sample in dataset.test if not sample.is_good and not sample.masks]
    if bare:
        report.warnings.append(f"{counted(len(bare), 'image')} of defects without a mask: {some(bare)}")
    return report


def _files(source: Path, samples: Iterable[Sample]) -> dict[str, Path]:
    """Images and masks by their name within the data set."""
    files: dict[str, Path] = {}
    for sample in samples:
        files[sample.name] = sample.path
        files |= {relative_name(mask, source): mask for mask in sample.masks}
    return files


def _copy(conversion: Conversion, files: dict[str, Path], progress: Progress | None) -> None:
    for number, (name, path) in enumerate(files.items(), 1):
        with naming(path):
            content = read_file(path, DEFAULT_LIMITS.max_bytes)
        conversion.write(name, content)
        if progress:
            progress("Copying", number, len(files))
