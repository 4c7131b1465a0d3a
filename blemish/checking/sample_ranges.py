"""Whether 16-bit images use the range that they are read with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import or_

from blemish.checking.duplicates import is_learnt
from blemish.checking.findings import Finding
from blemish.checking.survey import ImageFacts


def sample_findings(images: list[ImageFacts]) -> Iterator[Finding]:
    """Good training images of 16 bits that use few of them, or more than `Model.bit_depth` states."""
    spans = [facts.span for facts in images if facts.span is not None and is_learnt(facts.sample)]
    if not spans:
        return
    span = reduce(or_, spans)
    for code, message in (("clipped_samples", span.clipped()), ("unused_range", span.unused())):
        if message is not None:
            yield Finding(code, message)
