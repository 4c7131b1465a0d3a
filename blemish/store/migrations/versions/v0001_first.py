"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from blemish.store.tables import Moment

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _inspections()
    _messages()
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("created", Moment, nullable=False),
        sa.Column("revoked", Moment),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "settings",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.JSON, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("progress", sa.Double, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("result", sa.JSON),
        sa.Column("created", Moment, nullable=False),
        sa.Column("changed", Moment, nullable=False),
        sqlite_autoincrement=True,
    )


def _inspections() -> None:
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "inspections",
        sa.Column("id", key, primary_key=True),
        sa.Column("request_id", sa.Text, nullable=False, unique=True),
        sa.Column("time", Moment, nullable=False, index=True),
        sa.Column("source", sa.Text, index=True),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("p_value", sa.Double),
        sa.Column("threshold", sa.Double, nullable=False),
        sa.Column("is_anomalous", sa.Boolean, nullable=False),
        sa.Column("regions", sa.JSON, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("image_hash", sa.String(64)),
        sa.Column("thumbnail_hash", sa.String(64)),
        sa.Column("map_hash", sa.String(64)),
        sa.Column("brightness", sa.Double),
        sa.Column("focus", sa.Double),
        sa.Column("shift_x", sa.Double),
        sa.Column("shift_y", sa.Double),
        sa.Column("review", sa.String(16)),
        sa.Column("reviewed_by", sa.Text),
        sa.Column("reviewed_at", Moment),
        sa.Column("note", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("inspections_model", "inspections", ["model", "id"])
    op.create_index("inspections_verdict", "inspections", ["is_anomalous", "id"])
    op.create_index("inspections_counts", "inspections", ["is_anomalous", "review"])
    op.create_index("inspections_review", "inspections", ["review", "id"])


def _messages() -> None:
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table("subscriptions", sa.Column("sink", sa.Text, primary_key=True))
    op.create_table(
        "outbox",
        sa.Column("id", key, primary_key=True),
        sa.Column("sink", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("created", Moment, nullable=False),
        sa.UniqueConstraint("sink", "key"),
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_order", "outbox", ["sink", "id"])
