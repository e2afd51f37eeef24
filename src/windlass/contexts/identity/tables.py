"""The tables of users, keys and tokens, and the audit log with its hash chain."""

from __future__ import annotations

import sqlalchemy as sa

from windlass.storage.schema import json_text, metadata, name, timestamp

tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("tenant_id", name(), primary_key=True),
    sa.Column("created_at", timestamp(), nullable=False),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("tenant_id", name(), nullable=False),
    sa.Column("username", sa.Text, nullable=False),
    sa.Column("folded_name", name(), nullable=False),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("role", name(), nullable=False, server_default="user"),
    sa.Column("permissions", json_text(), nullable=False, server_default="[]"),
    sa.Column("is_active", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("token_version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("created_at", timestamp(), nullable=False),
    sa.Column("updated_at", timestamp(), nullable=False),
    sa.Column("last_login_at", timestamp()),
    sa.Column("seeded", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("folded_name"),
    sa.Index("ix_users_tenant_id", "tenant_id", "user_id"),
)

service_keys = sa.Table(
    "service_keys",
    metadata,
    sa.Column("key_id", name(), primary_key=True),
    sa.Column("tenant_id", name(), nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("secret_hash", sa.Text, nullable=False),
    sa.Column("permissions", json_text(), nullable=False, server_default="[]"),
    sa.Column("created_at", timestamp(), nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("revoked_at", timestamp()),
    sa.Index("ix_service_keys_tenant_id", "tenant_id", "key_id"),
    comment="of a key only a hash is kept: it is shown once, when it is made",
)

token_uses = sa.Table(
    "token_uses",
    metadata,
    sa.Column("jti", name(), primary_key=True),
    sa.Column("runs", sa.BigInteger, nullable=False),
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
    comment="how often tokens with a quota have been used",
)

login_failures = sa.Table(
    "login_failures",
    metadata,
    sa.Column("name_hash", name(), primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("retry_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
    comment="wrong passwords in a row by name, whether a user has it or not; names are hashed",
)

login_sessions = sa.Table(
    "login_sessions",
    metadata,
    sa.Column("handle", name(), primary_key=True),
    sa.Column("session_id", name(), nullable=False),
    sa.Column("user_id", sa.BigInteger, nullable=False),
    sa.Column("token_version", sa.Integer, nullable=False),
    sa.Column("secret_hash", name(), nullable=False),
    sa.Column("refreshed", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("created_at", timestamp(), nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sa.UniqueConstraint("session_id"),
    sqlite_with_rowid=False,
    comment="of all refresh tokens of a login only the hash of the one that is good; whoever comes with another is out",
)

ended_tokens = sa.Table(
    "ended_tokens",
    metadata,
    sa.Column("id", name(), primary_key=True),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
    comment="sessions (sid) and tokens (jti) that were ended before their time, until none of them could be good",
)

external_users = sa.Table(
    "external_users",
    metadata,
    sa.Column("issuer", name(), nullable=False),
    sa.Column("subject", name(), nullable=False),
    sa.Column("user_id", sa.BigInteger, nullable=False, index=True),
    sa.Column("created_at", timestamp(), nullable=False),
    sa.PrimaryKeyConstraint("issuer", "subject"),
    comment="which user somebody is whom another service vouches for",
)

identity_secrets = sa.Table(
    "identity_secrets",
    metadata,
    sa.Column("name", name(), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    comment="made at the first start where JWT_SECRET_KEY may be left out, so that all processes agree",
)

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("id", name(), primary_key=True),
    sa.Column("at", timestamp(), nullable=False),
    sa.Column("tenant_id", name(), nullable=False),
    sa.Column("actor_id", name(), nullable=False),
    sa.Column("action", name(), nullable=False),
    sa.Column("target", name(), nullable=False),
    sa.Column("entry", sa.Text, nullable=False),
    sa.Index("ix_audit_log_tenant_id", "tenant_id", "id"),
    sa.Index("ix_audit_log_target", "tenant_id", "target", "id"),
    sa.Index("ix_audit_log_actor_id", "tenant_id", "actor_id", "id"),
    sa.Index("ix_audit_log_action", "tenant_id", "action", "id"),
    comment="who did what; entry is the whole of it as JSON, the other columns find it; rows are only added",
)

audit_chain = sa.Table(
    "audit_chain",
    metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("id", name(), nullable=False),
    sa.Column("hash", name(), nullable=False),
    sa.UniqueConstraint("id"),
    comment="the entries in the order of their commits: each hash covers its number, its entry and the hash before",
)

audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("chain", name(), primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", name(), nullable=False),
    comment="where the chain ends; its one row is locked while an entry is committed",
)
