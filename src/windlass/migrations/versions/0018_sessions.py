"""Logins that are refreshed and ended, users of other services, and which user is the one that development comes with.

Revision ID: 0018
Revises: 0017
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def name() -> sa.types.TypeEngine[Any]:
    """Return the type of an id or name: compared byte by byte on both databases."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def timestamp() -> sa.types.TypeEngine[Any]:
    """Return the type of a time people read."""
    return sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "login_sessions",
        sa.Column("handle", name(), nullable=False),
        sa.Column("session_id", name(), nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("token_version", sa.Integer, nullable=False),
        sa.Column("secret_hash", name(), nullable=False),
        sa.Column("refreshed", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("created_at", timestamp(), nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("handle", name="pk_login_sessions"),
        sa.UniqueConstraint("session_id", name="uq_login_sessions_session_id"),
        sqlite_with_rowid=False,
        comment="of all refresh tokens of a login only the hash of the one that is good; whoever comes with another"
        " is out",
    )
    op.create_index("ix_login_sessions_expires_at", "login_sessions", ["expires_at"])
    op.create_table(
        "ended_tokens",
        sa.Column("id", name(), nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ended_tokens"),
        sqlite_with_rowid=False,
        comment="sessions (sid) and tokens (jti) that were ended before their time, until none of them could be good",
    )
    op.create_index("ix_ended_tokens_expires_at", "ended_tokens", ["expires_at"])
    op.create_table(
        "external_users",
        sa.Column("issuer", name(), nullable=False),
        sa.Column("subject", name(), nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("created_at", timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "subject", name="pk_external_users"),
        comment="which user somebody is whom another service vouches for",
    )
    op.add_column("users", sa.Column("seeded", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Drop them; the user that development comes with would be let in everywhere then, and goes too."""
    op.execute(sa.text("DELETE FROM users WHERE seeded"))
    op.drop_column("users", "seeded")
    for table in ("external_users", "ended_tokens", "login_sessions"):
        op.drop_table(table)
