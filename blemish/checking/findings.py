"""What a check can find: every code with its severity, and the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning"]

# An error makes results wrong or training impossible. A warning is for a person to look at. docs/data.md tells
# of every code what to do.
CODES: dict[str, Severity] = {
    "no_good_images": "error",
    "unreadable_image": "error",
    "unreadable_mask": "error",
    "unreadable_list_line": "error",
    "missing_file": "error",
    "defect_in_training": "error",
    "leaked_image": "error",
    "contradicting_labels": "error",
    "mask_size": "error",
    "empty_mask": "error",
    "unknown_test_images": "error",
    "good_image_with_mask": "error",
    "odd_folder": "error",
    "inverted_mask": "warning",
    "swapped_masks": "warning",
    "repeated_mask": "warning",
    "mask_not_binary": "warning",
    "mask_background": "warning",
    "turned_mask": "warning",
    "oriented_image": "warning",
    "missing_mask": "warning",
    "duplicate_images": "warning",
    "near_duplicates": "warning",
    "near_duplicates_across_splits": "warning",
    "unsure_parts": "warning",
    "mixed_compression": "warning",
    "mixed_format": "warning",
    "mixed_sizes": "warning",
    "mixed_colour": "warning",
    "mixed_bit_depth": "warning",
    "unused_range": "warning",
    "clipped_samples": "warning",
    "mixed_transparency": "warning",
    "unused_files": "warning",
    "few_images": "warning",
    "one_session": "warning",
    "several_sessions": "warning",
    "no_good_test_images": "warning",
    "suspicious_image": "warning",
    "unlike_folder": "warning",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or odd, and the files it is about, named relative to the data set."""

    code: str
    message: str
    files: tuple[str, ...] = ()

    @property
    def severity(self) -> Severity:
        return CODES[self.code]

    def to_json(self) -> dict[str, Any]:
        return {"severity": self.severity, **asdict(self)}


@dataclass(frozen=True)
class CheckReport:
    """What a check has found.

    Attributes:
        folder: the data set.
        result: the JSON file with everything in it.
        train_samples, val_samples: number of training and of test images.
        findings: all of them, errors first.
    """

    folder: Path
    result: Path
    train_samples: int
    val_samples: int
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    @property
    def passed(self) -> bool:
        """Whether there is no error; warnings do not count."""
        return not self.errors
