"""Long work of the service: trainings, updates, comparisons; each in a process of its own, one at a time."""

from blemish.service.jobs.kinds import KINDS, Kind, Tell
from blemish.service.jobs.workshop import Workshop

__all__ = ["KINDS", "Kind", "Tell", "Workshop"]
