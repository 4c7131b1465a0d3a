"""What a reader has to know before the numbers, and what the numbers cannot tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from blemish.calibration import Calibration, apart_limit
from blemish.evaluation.tally import Tally
from blemish.metrics.rates import counted, rate_text, them
from blemish.models import ModelInfo
from blemish.pipeline.predictor import Limit
from blemish.report import Kind, PartFigures, Rate, Remark
from blemish.report.words import bounds, certainty, percent

_FEW_GOOD, _FEW_DEFECTIVE = 100, 30
_NAMED = 5
# What is odd about masks and makes figures wrong; the rest is a note.
_MISLEADING = ("good_image_with_mask", "inverted_mask")


@dataclass(frozen=True)
class Findings:
    """All that the remarks are made of; `seen` are the images that the model was trained on too, `learned`
    those of them that are not judged; `split` is the command that keeps good images back; `is_given` is whether a
    person gave the threshold."""

    tally: Tally
    info: ModelInfo
    calibration: Calibration
    limit: Limit
    kinds: tuple[Kind, ...]
    false_alarms: Rate | None
    misses: Rate | None
    image_auroc: float | None
    seen: Sequence[str]
    learned: Sequence[str]
    doubts: Sequence[str]
    split: str = ""
    is_given: bool = False
    parts: PartFigures | None = None
    part_problem: str | None = None


def remarks(found: Findings) -> tuple[Remark, ...]:
    """Alarms first, then notes."""
    alarms = (Remark("alarm", text) for text in _alarms(found) if text)
    notes = (Remark("note", text) for text in _notes(found) if text)
    return (*alarms, *notes)


def _alarms(found: Findings) -> Iterable[str | None]:
    judged = sum(image.error is None for image in found.tally.images)
    if found.seen:
        whole = "All" if len(found.seen) == judged else str(len(found.seen))
        yield (
            f"{whole} of these {judged} images are training images of this very model ({_some(found.seen)}). It has "
            "seen them, so their scores are lower than those of new images. Evaluate it on others."
        )
    if found.image_auroc is not None and found.image_auroc < 0.5:
        yield (
            "Good images score higher than defective ones, worse than by chance: look for swapped folders, or for good "
            "test images that differ from the training images in another way than by defects."
        )
    yield from _odd_masks(found.tally, is_alarm=True)
    rate, (alarms, noun) = found.limit.rate, _independent(found)
    upper = found.calibration.upper_rate if found.parts is None else found.calibration.part_upper_rate
    if rate is not None and alarms is not None and alarms.lower > upper(rate):
        yield (
            f"{percent(alarms.value)} of the good {noun}s raised a false alarm ({certainty(alarms)}), more than the "
            f"{rate_text(rate)} that the threshold was set for and more than chance explains. Are these good parts? "
            f"Highest scores: {_some(_called_anomalous(found.tally, found.limit.score))}. If they are not, leave them "
            "out (--leave-out NAME) or move them to the defects. If they are, they are of another session than the "
            "training's (light, camera, day): compare light, focus and position; if all is well, train with some of "
            "them too, or cover their session: --holdout DIR."
        )
    else:
        yield _look_defective(found)


def _look_defective(found: Findings) -> str | None:
    """Which images of good parts stand apart from those that calibrate, as defects do."""
    if not found.calibration.is_calibrated:
        return None
    limit = max(found.limit.score, apart_limit(found.calibration))
    names = _called_anomalous(found.tally, limit)
    if not names:
        return None
    count = len(names)
    return (
        f"{counted(count, 'image')} called good look{'s' * (count == 1)} defective: {_some(names)}. "
        f"{'Is this a good part' if count == 1 else 'Are these good parts'}? If not, leave {them(count)} out "
        f"(--leave-out NAME) or move {them(count)} to the defects; until then "
        f"{'it counts' if count == 1 else 'they count'} as false alarms."
    )


def _called_anomalous(tally: Tally, limit: float) -> list[str]:
    """Names of the images of good parts with a score above a limit, highest score first."""
    scored = ((image.score, image.name) for image in tally.images if image.is_good and image.score is not None)
    return [name for score, name in sorted(scored, key=lambda one: -one[0]) if score > limit]


def _notes(found: Findings) -> Iterable[str | None]:
    tally = found.tally
    failed = [image.name for image in tally.images if image.error is not None]
    if found.learned:
        yield (
            f"The model was trained on {counted(len(found.learned), 'good image')} of this folder "
            f"({_some(found.learned)}); they are left out. To measure false alarms, keep some "
            f"back and train again: {found.split}"
        )
    if failed:
        count = counted(len(failed), "image")
        yield f"{count} could not be judged and {_count_as(len(failed))} nowhere: {_some(failed)}."
    if tally.problems:
        yield f"{counted(len(tally.problems), 'mask')} cannot be used: {_some(tally.problems)}."
    yield from _odd_masks(tally, is_alarm=False)
    if tally.unmasked and tally.masked:
        yield (
            f"{counted(len(tally.unmasked), 'defective image')} without a mask, or with an empty one, "
            f"{_count_as(len(tally.unmasked))} in no pixel figure: {_some(tally.unmasked)}."
        )
    yield found.part_problem
    if found.parts is not None:
        yield from _of_parts(found.parts)
    if found.limit.rate is not None and found.limit.rate < found.calibration.best_rate * (1 - 1e-9):
        yield found.calibration.statement(found.limit.rate)
    other = [size for size in tally.sizes if size not in found.info.data.sizes]
    if other and len(found.info.data.sizes) == 1:
        trained = next(iter(found.info.data.sizes))
        yield f"The model was trained on images of {trained} pixels; here are some of {_some(sorted(other))}."


def _odd_masks(tally: Tally, *, is_alarm: bool) -> Iterable[str]:
    """What is odd about masks, in the words of the check: a sentence for each kind, with the images of that kind."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for name, remark in tally.odd_masks:
        if (remark.code in _MISLEADING) == is_alarm:
            kinds.setdefault(remark.code, []).append((name, remark.message))
    for (first, message), *others in kinds.values():
        likewise = f" Likewise {_some([name for name, _ in others])}." if others else ""
        yield f"{first}: {message}{'' if message.endswith('?') else '.'}{likewise}"


def _of_parts(parts: PartFigures) -> Iterable[str]:
    if parts.failed:
        yield f"{counted(len(parts.failed), 'part')} got no verdict, since images failed: {_some(parts.failed)}."
    if parts.mixed:
        yield (
            f"{counted(len(parts.mixed), 'part')} with good and defective images {_count_as(len(parts.mixed))} as "
            f"defective: {_some(parts.mixed)}."
        )
    if parts.larger:
        yield (
            f"More images than the calibration's parts, which had {parts.images_per_part[1]} at most, show "
            f"{counted(len(parts.larger), 'part')} ({_some(parts.larger)}): expect more false alarms of parts than "
            "were asked for."
        )


def _independent(found: Findings) -> tuple[Rate | None, str]:
    """False alarms of what is independent of each other: parts where they are known, else images."""
    return (found.false_alarms, "image") if found.parts is None else (found.parts.false_alarms, "part")


def unsure(found: Findings) -> tuple[str, ...]:
    """What remains open after this evaluation, a sentence or two each."""
    return tuple(_unsure(found))


def _unsure(found: Findings) -> Iterable[str]:
    (alarms, noun), misses = _independent(found), found.misses
    if alarms is None:
        yield f"How many false alarms there will be: no good {noun} was judged."
    elif alarms.total < _FEW_GOOD:
        yield (
            f"The false-alarm rate: {counted(alarms.total, f'good {noun}')} tell only that it is {bounds(alarms)}, "
            f"with 95 % confidence. To show that it is under 1 % takes 299 good {noun}s without a false alarm."
        )
    if found.parts is not None:
        yield (
            "How sure the rates of images are: their intervals take images for independent, and images of one part are "
            "not. Those of parts hold."
        )
    if misses is None:
        yield "How many defects are missed: no defective image was judged."
    else:
        few = [kind.name for kind in found.kinds if not kind.is_good and kind.called.total < _FEW_DEFECTIVE]
        if few:
            yield f"How often each type of defect is missed: fewer than {_FEW_DEFECTIVE} images each of {_some(few)}."
        count = sum(not kind.is_good for kind in found.kinds)
        known = "one" if count == 1 else counted(count, "type")
        yield (
            f"Defects that are fainter or of another type than the {known} here. The model knows good images "
            "only, so it may well find them, but nothing here shows it."
        )
    if found.info.data.hashes is None:
        yield "Whether the model was trained on some of these images: it does not tell which ones it was trained on."
    yield from found.doubts
    if found.limit.rate is None:
        reason = "It was given by hand." if found.is_given else found.calibration.statement()
        yield f"What false-alarm rate the threshold stands for. {reason}"
    yield (
        "Another session (light, camera, day): the rates hold for images taken like these. Judge new good images now "
        "and then, and train again when their scores rise."
    )


def _count_as(count: int) -> str:
    return "counts" if count == 1 else "count"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
