"""What every finding means in plain words, and what to do: for people who look at a page instead of the manual."""

from __future__ import annotations

from typing import NamedTuple


class Advice(NamedTuple):
    """A finding's heading, and what to do about it."""

    title: str
    way_out: str


ADVICE = {
    "no_good_images": Advice("There is nothing to learn from", "Put good images into the folder."),
    "unreadable_image": Advice("An image cannot be read", "Copy it from the camera again, or remove it."),
    "unreadable_mask": Advice("A mask cannot be read", "Export it again."),
    "unreadable_list_line": Advice("A line of a list cannot be read", "Quote the path, or put a tab between the two."),
    "missing_file": Advice("A listed file is not there", "Correct the path, or remove the line."),
    "defect_in_training": Advice(
        "A defect is among the good images", "Remove it: what is learnt as good is never found."
    ),
    "leaked_image": Advice("A test image is among the training images", "Remove it from one of them."),
    "contradicting_labels": Advice("One picture is both good and a defect", "Decide which it is."),
    "mask_size": Advice("A mask is of another size than its image", "Export it at the image's size."),
    "empty_mask": Advice("The mask of a defect marks nothing", "Draw it, or remove the mask."),
    "unknown_test_images": Advice(
        "Nothing tells which test images are good", "Name their folder test/good, or name it with --good."
    ),
    "good_image_with_mask": Advice("A good image has a mask", "Move the image to its defect, or remove the mask."),
    "odd_folder": Advice(
        "A folder among the good ones is odd as a whole",
        "Move it out if it holds defects: they would be learnt as good.",
    ),
    "inverted_mask": Advice("A mask looks inverted", "Swap black and white."),
    "swapped_masks": Advice("Two masks look swapped", "Look at both, and swap the masks."),
    "repeated_mask": Advice("Different images have the same mask", "Look whether one was copied by mistake."),
    "mask_not_binary": Advice("A mask has soft edges", "Save masks of 0 and 255 as PNG."),
    "mask_background": Advice("The background of a mask is not black", "Save masks with 0 as background."),
    "turned_mask": Advice(
        "A mask is drawn on the image before it is turned",
        "Nothing to do: it is turned too. To be sure, save images turned, without the EXIF orientation.",
    ),
    "oriented_image": Advice(
        "A mask fits its image both before and after it is turned",
        "Save the image turned, without the EXIF orientation, and draw the mask on that.",
    ),
    "missing_mask": Advice("A defect has no mask", "Nothing to do for a training."),
    "duplicate_images": Advice(
        "The same picture is there several times", "Keep one: copies promise more than there is."
    ),
    "near_duplicates": Advice(
        "Pictures seem to show one part",
        "Keep one of a copy. Several shots of one part may stay: the threshold takes them as one.",
    ),
    "unsure_parts": Advice(
        "Several pictures may show one part, which cannot be told for sure",
        "If so, say which: by a pattern on the names, train --group-by PATTERN (Calibrate.group_by).",
    ),
    "near_duplicates_across_splits": Advice(
        "Training and test pictures are nearly the same", "Test with parts that were not trained on."
    ),
    "mixed_compression": Advice(
        "Groups of images are compressed differently",
        "Save all alike: a detector finds the difference in compression instead of defects.",
    ),
    "mixed_format": Advice(
        "Groups of images have different file formats", "Look whether they come from the same camera; save all alike."
    ),
    "mixed_sizes": Advice("Images are of several sizes", "Fine if cameras differ; all are brought to one input size."),
    "mixed_colour": Advice("Grey and colour are mixed", "Use one camera mode: grey alone looks like a defect."),
    "mixed_bit_depth": Advice("Bit depths are mixed", "Use one; for a 12-bit camera set Model.bit_depth=12."),
    "unused_range": Advice(
        "16-bit images use few of their 16 bits", "Set Model.bit_depth as the message says; otherwise they are dark."
    ),
    "clipped_samples": Advice("16-bit images exceed the range of Model.bit_depth", "Set the range of the camera."),
    "mixed_transparency": Advice("Some images have transparency", "Save all without; it is dropped."),
    "unused_files": Advice("Some files are not used", "Move or rename them, or leave them."),
    "few_images": Advice("There are few images", "Collect more, or train with a higher false-alarm rate."),
    "one_session": Advice(
        "All good images were taken in one session",
        "Add good images of other days; on another day more good parts may raise an alarm.",
    ),
    "several_sessions": Advice(
        "The good images were taken in several sessions",
        "Set Calibrate.sessions=time, so that each of them is covered.",
    ),
    "no_good_test_images": Advice(
        "All test images are defects", "Nothing to do for a training; add good ones to test."
    ),
    "suspicious_image": Advice("A good image looks odd", "Look at it, and remove it unless it is good."),
    "unlike_folder": Advice(
        "A folder looks different all over",
        "If it is of another camera or product, train a model of its own, or add more images of it.",
    ),
}
