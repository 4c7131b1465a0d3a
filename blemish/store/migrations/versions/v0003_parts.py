"""Which images show one part, and what the part is held against."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the index."""
    op.add_column("inspections", sa.Column("part", sa.Text))
    op.add_column("inspections", sa.Column("part_key", sa.String(64)))
    op.add_column("inspections", sa.Column("part_images", sa.Integer))
    op.add_column("inspections", sa.Column("part_threshold", sa.Double))
    op.create_index("inspections_part", "inspections", ["part_key"])
