"""What the names of folders and files tell of sessions: days, lots and shifts, each with several images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from blemish.calibration.name_pattern import NamePattern

FEWEST = 3  # images of a session on average: of fewer, the names tell parts rather than days
_DATE = r"20\d\d([-_.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
# Words of times and lots, as a whole name or before a number: `lot 7`, `Monday`, `KW12`, `shift_b`, `day1`.
_WORDS = """
    day days tag jour giorno dia dag lot lots los lote lotto batch charge charges partie series serie shift schicht
    equipe turno session sessions sitzung week woche semaine semana settimana kw cw month monat morning afternoon
    evening night early late frueh fruh spaet spat nacht monday tuesday wednesday thursday friday saturday sunday montag
    dienstag mittwoch donnerstag freitag samstag sonntag mon tue wed thu fri sat sun
    """.split()  # noqa: SIM905
_FOLDER = re.compile(
    rf"(?:{_DATE}|(?:0?[1-9]|[12]\d|3[01])[-_.](?:0?[1-9]|1[0-2])[-_.](?:20)?\d\d"
    rf"|(?:{'|'.join(_WORDS)})[-_ .]?(?:\d+|[a-z])?|\d+[-_ .]?(?:{'|'.join(_WORDS)})|第?\d+[批班日天]次?)(?:[-_ T].*)?",
    re.IGNORECASE,
)
_IN_FILE = r"(20\d\d[-_.]?[01]\d[-_.]?[0-3]\d)[^/]*$"


@dataclass(frozen=True)
class NamedSessions:
    """Sessions that names tell: the pattern for `Calibrate.sessions` that finds them, and what it finds."""

    pattern: str
    names: tuple[str, ...]


def sessions_in_names(names: Sequence[str]) -> NamedSessions | None:
    """The sessions of good images, by the folders that they lie in or else by dates in their file names.

    All folders of one depth are dates, lots or shifts then. None where nothing tells several, of a few images each.
    """
    folders = [name.split("/")[:-1] for name in names]
    for depth in range(min(map(len, folders), default=0)):
        found = [folder[depth] for folder in folders]
        if all(_FOLDER.fullmatch(name) for name in set(found)) and _are_several(found):
            before = "" if depth == 0 else "[^/]+/" if depth == 1 else f"(?:[^/]+/){{{depth}}}"
            return NamedSessions(f"^{before}([^/]+)/", tuple(sorted(set(found))))
    pattern = NamePattern(_IN_FILE)
    dates = [date for name in names if (date := pattern.find(name)) is not None]
    if len(dates) == len(names) and _are_several(dates):
        return NamedSessions(_IN_FILE, tuple(sorted(set(dates))))
    return None


def _are_several(found: Sequence[str]) -> bool:
    counts = Counter(found)
    return 1 < len(counts) <= len(found) / FEWEST
