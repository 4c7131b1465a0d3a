"""The metrics by key: their name, what they say, and how they mislead."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """One metric in words. `is_rate` metrics read best in percent; the others lie between 0 and 1, most of them."""

    key: str
    name: str
    says: str
    pitfall: str
    is_rate: bool = False


METRICS = (
    Metric(
        "image_auroc",
        "Image AUROC",
        "How often a defective image scores higher than a good one, over all pairs. 1 is perfect, 0.5 is chance.",
        "Needs no threshold, so it says nothing of the one in force; with few images one of them moves it by points.",
    ),
    Metric(
        "image_ap",
        "Image AP",
        "Average precision: how pure the list of images is when read from the highest score down.",
        "Depends on the share of defects in the test set, which is far higher there than on a line.",
    ),
    Metric(
        "pixel_auroc",
        "Pixel AUROC",
        "How often a defective pixel has a larger map value than a good one.",
        "Nearly all pixels are easy background and large defects outvote small ones, so poor maps still reach 0.95.",
    ),
    Metric(
        "pixel_ap",
        "Pixel AP",
        "Average precision of the pixels: how pure the marked area is, from the highest map value down.",
        "Strict where defects are tiny or masks are drawn generously; compare it only on the same masks.",
    ),
    Metric(
        "au_pro",
        "AU-PRO (30 %)",
        "How much of each defect is covered, every defect counting alike, while up to 30 % of the good area is marked.",
        "30 % of the area is far more than anybody would accept on a line; the stricter limit below is closer to use.",
    ),
    Metric(
        "au_pro_05",
        "AU-PRO (5 %)",
        "The same while at most 5 % of the good area is marked.",
        "Still an average over thresholds, not the one in force.",
    ),
    Metric(
        "au_pimo",
        "AU-PIMO",
        "How much of each defective image's defect is found while the good images stay almost untouched "
        "(0.001 % to 0.01 % of their area).",
        "Very strict: 0 is common for defects that people see at once, and it needs good images of many pixels.",
    ),
    Metric(
        "f1",
        "F1 at the threshold",
        "Balance of precision and recall of the verdicts, at the threshold that the model works with.",
        "Depends on the share of defects in the test set.",
    ),
    Metric(
        "f1_max",
        "F1, oracle",
        "The best F1 that any threshold would have reached on these very images.",
        "An oracle: nobody knows that threshold in advance. The gap to the F1 above is what calibration costs.",
    ),
    Metric(
        "false_alarm_rate",
        "False alarms",
        "Share of the good images that were called anomalous.",
        "With few good images the interval is wide; it is the interval, not the share, that may be promised.",
        True,
    ),
    Metric(
        "miss_rate",
        "Misses",
        "Share of the defective images that were called normal.",
        "True for these defects only: another type, or a fainter one, has a rate of its own.",
        True,
    ),
    Metric(
        "mIoU",
        "mIoU",
        "Overlap of the marked and the true area, averaged over the classes good and defective, "
        "at the pixel threshold in force.",
        "The good class is nearly always close to 1, so a model that never marks anything reaches about 0.5.",
    ),
    Metric(
        "Acc",
        "Pixel accuracy",
        "Share of all pixels that were marked rightly, at the pixel threshold in force.",
        "Defects are small: a model that never marks anything is still above 0.9.",
    ),
    Metric(
        "Kappa",
        "Kappa",
        "Agreement of the marked and the true area beyond chance; 0 is chance, 1 is perfect.",
        "Depends on how large the defects are.",
    ),
    Metric(
        "Dice",
        "Dice",
        "Twice the overlap of the marked and the true area over the sum of both: the F1 of the defective pixels.",
        "Large defects outvote small ones.",
    ),
)
# of evaluations that know which images show one part
PART_METRICS = (
    Metric(
        "part_false_alarm_rate",
        "False alarms, parts",
        "Share of the good parts that were called anomalous, by the largest score of their images.",
        "Holds for parts with as many images as those that set the threshold of parts.",
        True,
    ),
    Metric(
        "part_miss_rate",
        "Misses, parts",
        "Share of the defective parts that were called normal. A part is defective if one of its images is.",
        "A part can be found by an image that does not show its defect.",
        True,
    ),
)
BY_KEY = {metric.key: metric for metric in (*METRICS, *PART_METRICS)}
