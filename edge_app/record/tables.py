"""The record's tables, as the newest migration leaves them; times are ISO 8601 texts in UTC.

A migration in `migrations/versions` makes them; a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

METADATA = MetaData()

# `entry` is always the counter of the audit log's entry that tells of the row.
AUDIT = Table(
    "audit_entries",
    METADATA,
    Column("counter", BigInteger, primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
    Column("clock_is_trusted", Boolean, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),  # compact JSON
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("key_id", String(16), nullable=False),
    Column("signature", String(88), nullable=False),
)

STUDIES = Table(
    "studies",
    METADATA,
    Column("id", String(10), primary_key=True),
    Column("entry", BigInteger, nullable=False),
    Column("last_entry", BigInteger, nullable=False),  # of the last change
    # Hashes of patients' facts stand in the log; without this, a code could be guessed from one.
    Column("salt", String(32), nullable=False),
    Column("version", Integer, nullable=False),
    Column("added_at", String(32), nullable=False),
    Column("added_by", Text, nullable=False),
    Column("patient_code", Text, nullable=False),
    Column("age_years", Float),
    Column("sex", String(1)),
    Column("kind", String(16), nullable=False),
    Column("file", Text, nullable=False),
    Column("picture_sha256", String(64), nullable=False),
    Column("heat_sha256", String(64)),
    Column("decision", String(32), nullable=False),
    Column("urgency", Float, nullable=False),  # `studies.urgency`
    Column("row", Text, nullable=False),  # a line of results.jsonl
    Column("outcome_entry", BigInteger),  # of the outcome that holds
    Column("exported_at", String(32)),
    Index("studies_by_urgency", "urgency", "added_at"),
    Index("studies_by_time", "added_at"),
    Index("studies_by_patient", "patient_code", "added_at"),
    Index("studies_by_picture", "picture_sha256"),
    Index("studies_by_heat", "heat_sha256"),
)

READINGS = Table(
    "readings",
    METADATA,
    Column("entry", BigInteger, primary_key=True, autoincrement=False),
    Column("study_id", ForeignKey("studies.id", ondelete="CASCADE"), nullable=False),
    Column("worker", Text, nullable=False),
    Column("at", String(32), nullable=False),
    Column("label", String(16), nullable=False),
    Column("note", Text, nullable=False),
    Column("is_blind", Boolean, nullable=False),
    Index("readings_by_study", "study_id", "worker"),
)

OUTCOMES = Table(
    "outcomes",
    METADATA,
    Column("entry", BigInteger, primary_key=True, autoincrement=False),
    Column("study_id", ForeignKey("studies.id", ondelete="CASCADE"), nullable=False),
    Column("worker", Text, nullable=False),
    Column("at", String(32), nullable=False),
    Column("label", String(16), nullable=False),
    Column("basis", String(24), nullable=False),
    Column("note", Text, nullable=False),
    Index("outcomes_by_study", "study_id"),
)

# To whom the machine's answer was shown.
SHOWN = Table(
    "shown",
    METADATA,
    Column("study_id", ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True),
    Column("worker", Text, primary_key=True),
)

ACCOUNTS = Table(
    "accounts",
    METADATA,
    Column("name", String(40), primary_key=True),  # in small letters
    Column("role", String(16), nullable=False),
    Column("password_hash", Text),
    Column("pin_hash", Text),
    Column("is_disabled", Boolean, nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("failures", Integer, nullable=False),  # wrong passwords since the last right one
    Column("locked_until", Float, nullable=False),  # seconds since 1970
)

# What the first start, `account add` and `account reset` print; "" is the first admin's.
CODES = Table(
    "one_time_codes",
    METADATA,
    Column("name", String(40), primary_key=True),
    Column("code_hash", String(64), nullable=False),
    Column("expires", Float, nullable=False),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("token_hash", String(64), primary_key=True),
    Column("name", ForeignKey("accounts.name", ondelete="CASCADE"), nullable=False),
    Column("expires", Float, nullable=False),
    Column("last_used", Float, nullable=False),
    Column("is_locked", Boolean, nullable=False),
    Column("wrong_pins", Integer, nullable=False),
    Index("sessions_by_name", "name"),
)

# Attempts to log in, for the rate limit of an address; kept for a minute.
ATTEMPTS = Table(
    "log_in_attempts",
    METADATA,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("source", Text, nullable=False),
    Column("at", Float, nullable=False),
    Index("attempts_by_source", "source", "at"),
)
