from pathlib import Path


def marked_stems(root: Path, read: set[str]) -> dict[str, list[str]]:
    return {}
