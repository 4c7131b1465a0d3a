"""What was seen: every inspection, its pictures and its review, durable once answered."""

from blemish.store.blobs import Blobs
from blemish.store.inspection import REVIEWS, Filter, Inspection, Retention, Review, new_request_id
from blemish.store.jobs import Job, Jobs, JobState
from blemish.store.outbox import Message, Outbox
from blemish.store.settings import Settings
from blemish.store.store import Store, open_store
from blemish.store.tokens import ROLES, Role, Token, Tokens
from blemish.store.trends import Bucket, Counts, Scores

__all__ = [
    "REVIEWS",
    "ROLES",
    "Blobs",
    "Bucket",
    "Counts",
    "Filter",
    "Inspection",
    "Job",
    "JobState",
    "Jobs",
    "Message",
    "Outbox",
    "Retention",
    "Review",
    "Role",
    "Scores",
    "Settings",
    "Store",
    "Token",
    "Tokens",
    "new_request_id",
    "open_store",
]
