"""Users, service keys and tokens; the audit log with its hash chain.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = (
    "tenants", "users", "service_keys", "token_uses", "login_failures", "identity_secrets", "audit_log", "audit_chain",
    "audit_head",
)  # fmt: skip
ONLY_ADDED = ("audit_log", "audit_chain")

# On PostgreSQL the chain grows when the transaction commits: its head is the last lock that is taken, so writers of
# the log wait for each other's commit alone and never for one another in a circle. SQLite has one writer.
SEAL = """CREATE FUNCTION audit_log_is_chained() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        link record;
    BEGIN
        INSERT INTO audit_head (chain, seq, hash) VALUES ('main', 0, '') ON CONFLICT DO NOTHING;
        UPDATE audit_head SET seq = seq + 1, hash = encode(sha256(convert_to(
            hash || chr(10) || (seq + 1)::text || chr(10) || NEW.id || chr(10) || NEW.entry, 'UTF8')), 'hex')
        WHERE chain = 'main' RETURNING seq, hash INTO link;
        INSERT INTO audit_chain (seq, id, hash) VALUES (link.seq, NEW.id, link.hash);
        RETURN NULL;
    END $$"""
SEALED = """CREATE CONSTRAINT TRIGGER audit_log_is_chained AFTER INSERT ON audit_log
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_log_is_chained()"""
REFUSE = """CREATE FUNCTION audit_log_stays() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the audit log is only added to'; END $$"""
FUNCTIONS = ("audit_log_is_chained", "audit_log_stays")


def name() -> sa.types.TypeEngine[Any]:
    """Text compared byte by byte."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def time() -> sa.types.TypeEngine[Any]:
    """A moment: ISO 8601 text on SQLite."""
    return sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")


def json() -> sa.types.TypeEngine[Any]:
    """A JSON document: text on SQLite."""
    return sa.Text().with_variant(JSONB(), "postgresql")


def number() -> sa.types.TypeEngine[Any]:
    """A number that SQLite gives out itself."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def people() -> None:
    """Create tenants and users."""
    op.create_table(
        "tenants",
        sa.Column("tenant_id", name(), nullable=False),
        sa.Column("created_at", time(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_tenants"),
    )
    op.create_table(
        "users",
        sa.Column("user_id", number(), autoincrement=True),
        sa.Column("tenant_id", name(), nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("folded_name", name(), nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("role", name(), nullable=False, server_default="user"),
        sa.Column("permissions", json(), nullable=False, server_default="[]"),
        sa.Column("is_active", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("token_version", sa.Integer, nullable=False, server_default="1"),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("updated_at", time(), nullable=False),
        sa.Column("last_login_at", time()),
        sa.PrimaryKeyConstraint("user_id", name="pk_users"),
        sa.UniqueConstraint("folded_name", name="uq_users_folded_name"),
    )
    op.create_index("ix_users_tenant_id", "users", ["tenant_id", "user_id"])


def keys() -> None:
    """Create service keys, the counts of tokens with a quota, failed logins and the secret of development."""
    op.create_table(
        "service_keys",
        sa.Column("key_id", name(), nullable=False),
        sa.Column("tenant_id", name(), nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("secret_hash", sa.Text, nullable=False),
        sa.Column("permissions", json(), nullable=False, server_default="[]"),
        sa.Column("created_at", time(), nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", time()),
        sa.PrimaryKeyConstraint("key_id", name="pk_service_keys"),
        comment="of a key only a hash is kept: it is shown once, when it is made",
    )
    op.create_index("ix_service_keys_tenant_id", "service_keys", ["tenant_id", "key_id"])
    op.create_table(
        "token_uses",
        sa.Column("jti", name(), nullable=False),
        sa.Column("runs", sa.BigInteger, nullable=False),
        sa.Column("calls", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("jti", name="pk_token_uses"),
        sqlite_with_rowid=False,
        comment="how often tokens with a quota have been used",
    )
    op.create_index("ix_token_uses_expires_at", "token_uses", ["expires_at"])
    op.create_table(
        "login_failures",
        sa.Column("name_hash", name(), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("retry_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name_hash", name="pk_login_failures"),
        sqlite_with_rowid=False,
        comment="wrong passwords in a row by name, whether a user has it or not; names are hashed",
    )
    op.create_index("ix_login_failures_expires_at", "login_failures", ["expires_at"])
    op.create_table(
        "identity_secrets",
        sa.Column("name", name(), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_identity_secrets"),
        comment="made at the first start where JWT_SECRET_KEY may be left out, so that all processes agree",
    )


def audit() -> None:
    """Create the audit log and its chain."""
    op.create_table(
        "audit_log",
        sa.Column("id", name(), nullable=False),
        sa.Column("at", time(), nullable=False),
        sa.Column("tenant_id", name(), nullable=False),
        sa.Column("actor_id", name(), nullable=False),
        sa.Column("action", name(), nullable=False),
        sa.Column("target", name(), nullable=False),
        sa.Column("entry", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
        comment="who did what; entry is the whole of it as JSON, the other columns find it; rows are only added",
    )
    op.create_index("ix_audit_log_tenant_id", "audit_log", ["tenant_id", "id"])
    for column in ("target", "actor_id", "action"):
        op.create_index(f"ix_audit_log_{column}", "audit_log", ["tenant_id", column, "id"])
    op.create_table(
        "audit_chain",
        sa.Column("seq", number(), nullable=False, autoincrement=False),
        sa.Column("id", name(), nullable=False),
        sa.Column("hash", name(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_chain"),
        sa.UniqueConstraint("id", name="uq_audit_chain_id"),
        comment="the entries in the order of their commits: each hash covers its number, its entry and the hash before",
    )
    op.create_table(
        "audit_head",
        sa.Column("chain", name(), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", name(), nullable=False),
        sa.PrimaryKeyConstraint("chain", name="pk_audit_head"),
        comment="where the chain ends; its one row is locked while an entry is committed",
    )


def triggers() -> None:
    """Let the chain grow by itself on PostgreSQL, and let nothing change what has been written."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(SEAL)
        op.execute(SEALED)
        op.execute(REFUSE)
        for table in ONLY_ADDED:
            op.execute(
                f"CREATE TRIGGER {table}_stays BEFORE UPDATE OR DELETE ON {table}"
                " FOR EACH ROW EXECUTE FUNCTION audit_log_stays()"
            )
        return
    for table in ONLY_ADDED:
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_stays_on_{action.lower()} BEFORE {action} ON {table}"
                " BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END"
            )


def upgrade() -> None:
    """Create everything."""
    people()
    keys()
    audit()
    triggers()


def downgrade() -> None:
    """Drop everything."""
    for table in reversed(TABLES):
        op.drop_table(table)
    if op.get_context().dialect.name == "postgresql":
        for function in FUNCTIONS:
            op.execute(f"DROP FUNCTION {function}()")
