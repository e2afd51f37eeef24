"""As whom users are known elsewhere, by user: nobody takes over who is somebody else's already.

Revision ID: 0021
Revises: 0020
"""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.create_index("ix_external_users_user_id", "external_users", ["user_id"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_external_users_user_id", "external_users")
