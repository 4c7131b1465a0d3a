"""Two-class agreement of binary maps with masks, over all pixels of a category."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Confusion:
    """Counts of pixels, and what segmentation calls mIoU, Acc, Kappa and Dice, all of them over both classes.

    A class that neither the map nor the masks hold has no IoU. The mean of both is then None and not that of the other
    class, and so are Kappa and Dice: on good images alone a model that never fires earns no number.

    Attributes:
        tp: defect pixels that were flagged.
        fp: good pixels that were flagged.
        fn: defect pixels that were not.
        tn: good pixels that were not.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def miou(self) -> float | None:
        """Mean of the intersection over union of good pixels and of defect pixels."""
        defect, good = _share(self.tp, self.tp + self.fp + self.fn), _share(self.tn, self.tn + self.fp + self.fn)
        return None if defect is None or good is None else (defect + good) / 2

    @property
    def accuracy(self) -> float | None:
        """Share of the pixels that are right; None without pixels."""
        return _share(self.tp + self.tn, self._total)

    @property
    def kappa(self) -> float | None:
        """(accuracy - chance) / (1 - chance), chance from the sizes of the classes (Cohen 1960)."""
        flagged, defect = self.tp + self.fp, self.tp + self.fn
        # both sides times total^2 stay whole numbers, so that agreement by chance alone is exactly 0
        chance = flagged * defect + (self._total - flagged) * (self._total - defect)
        return _share((self.tp + self.tn) * self._total - chance, self._total**2 - chance)

    @property
    def dice(self) -> float | None:
        """2 TP / (2 TP + FP + FN), the F1 of defect pixels."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def _total(self) -> int:
        return self.tp + self.fp + self.fn + self.tn


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
