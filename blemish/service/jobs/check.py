"""The check of a data set before a training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from blemish.service.jobs.data import Advance, check_inside, told_without_paths, without_paths
from blemish.service.jobs.kinds import Tell

_MOST_FINDINGS, _MOST_FILES = 100, 24


def run(parameters: Mapping[str, str], tell: Tell) -> dict[str, Any]:
    """Check it; answers how many images there are and what was found, errors first."""
    from blemish.checking import check_dataset
    from blemish.checking.advice import ADVICE

    with told_without_paths(parameters), TemporaryDirectory(prefix="blemish-check-") as work:
        tell(0.0, "starting")
        check_inside(parameters)
        report = check_dataset(Path(parameters["folder"]), Path(work), Advance(tell))
    findings = [
        {
            "severity": finding.severity,
            "code": finding.code,
            **ADVICE[finding.code]._asdict(),
            "message": without_paths(finding.message, parameters),
            "files": finding.files[:_MOST_FILES],
            "more": max(0, len(finding.files) - _MOST_FILES),
        }
        for finding in report.findings[:_MOST_FINDINGS]
    ]
    return {
        "train": report.train_samples,
        "test": report.val_samples,
        "passed": report.passed,
        "findings": findings,
        "more": max(0, len(report.findings) - _MOST_FINDINGS),
    }
