"""What the page of past inspections asks for: how to draw the map again, and counts of a choice without reading it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the indexes."""
    op.add_column("inspections", sa.Column("page_index", sa.Integer))
    op.add_column("inspections", sa.Column("pixel_threshold", sa.Double))
    # covers the counts of every choice but that of a version, and holds them in its first two columns as before
    op.drop_index("inspections_counts", "inspections")
    op.create_index("inspections_choice", "inspections", ["is_anomalous", "review", "model", "time", "source"])
