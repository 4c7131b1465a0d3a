"""Masks: where a defect is, from any file that an annotation tool writes."""
