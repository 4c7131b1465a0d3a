"""Whether every image's name tells its part, before any image is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from blemish.errors import UsageError


def check_part_names(pattern: str | None, inputs: Sequence[str], origin: str) -> None:
    """Refuse with `UsageError` a pattern that finds no part in the name of some file of the inputs.

    `origin` says whose pattern it is. The pages of a file may be what the pattern finds, so of such files the first
    page may be named too. Names of URLs, cameras and frames are seen only when they come.
    """
    if not pattern:
        return
    from blemish.calibration import NamePattern
    from blemish.metrics.rates import counted

    expression = NamePattern(pattern, origin)
    names = list(_names(inputs))
    unknown = [name for name in names if not expression.is_in_file(name)]
    if unknown:
        raise UsageError(
            f"{origin} `{pattern}` finds no part in {len(unknown)} of {counted(len(names), 'name')}, such as "
            f"`{unknown[0]}`. Give the pattern of these names with --group-by PATTERN, or --group-by '' for verdicts "
            "of images alone."
        )


def _names(inputs: Sequence[str]) -> Iterator[str]:
    """The names of files as results have them: relative to the folder that was given."""
    from blemish.images import list_images
    from blemish.images.names import is_image_name

    for given in inputs:
        path = Path(given)
        if path.is_dir():
            yield from (image.relative_to(path).as_posix() for image in list_images(path))
        elif path.is_file() and is_image_name(path.name):
            yield path.name
