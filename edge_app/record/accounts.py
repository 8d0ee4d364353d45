"""Who may do what: local accounts, log-ins that cannot be guessed, sessions, a PIN to lock one.

Passwords and PINs are kept as argon2id hashes, tokens and codes as SHA-256. There is no default
password: a new account's owner sets one with a code that is shown once.
"""

import hashlib
import math
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from edge_app.errors import NotAllowedError, NotInRecordError, UsageError
from edge_app.record.audit import AuditLog
from edge_app.record.database import Database
from edge_app.record.identifiers import new_identifier, read_identifier, show_identifier
from edge_app.record.passwords import hash_secret, is_secret
from edge_app.record.tables import ACCOUNTS, ATTEMPTS, CODES, SESSIONS
from edge_app.results.rows import utc_now

_FIRST_ADMIN = ""
_NAME = re.compile(r"[^\W_][\w.@-]{0,39}")
_PIN = re.compile(r"[0-9]{4,12}")
_LEAST_PASSWORD, _MOST_PASSWORD = 8, 200
_CODE_SECONDS = 24 * 3600.0
_SESSION_SECONDS = 12 * 3600.0
_IDLE_SECONDS = 30 * 60.0
_TOUCH_SECONDS = 60.0
_FAILURES_BEFORE_LOCK = 5
_LONGEST_LOCK = 15 * 60.0
_WINDOW_SECONDS = 60.0
_ATTEMPTS_IN_WINDOW = 20
_MOST_WRONG_PINS = 5
_WRONG = "the name or the password is wrong"


class Role(StrEnum):
    """Each may what those before it may."""

    WORKER = "worker"  # adds studies, readings and outcomes
    SUPERVISOR = "supervisor"  # exports, sees the audit log, corrects patients
    ADMIN = "admin"  # accounts, retention, backup

    def may(self, needed: "Role") -> bool:
        """Whether this role is at least the one needed."""
        roles = list(Role)
        return roles.index(self) >= roles.index(needed)


@dataclass(frozen=True, slots=True)
class Account:
    """One user.

    Attributes:
        name: as it is typed to log in; case does not matter.
        role: what they may do.
        has_password: False until the one-time code was used.
        has_pin: they can lock and unlock their session by it.
        is_disabled: may not log in.
        created_at: ISO 8601, UTC.
    """

    name: str
    role: Role
    has_password: bool
    has_pin: bool
    is_disabled: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class Session:
    """A log-in that holds.

    Attributes:
        token: for the cookie; only its SHA-256 is kept.
        account: whose.
        csrf: what a form must send back; of this session only.
        expires_at: ISO 8601, UTC: 12 hours after the log-in, whatever is done.
        is_locked: the PIN is needed before anything else.
    """

    token: str
    account: Account
    csrf: str
    expires_at: str
    is_locked: bool


class Accounts:
    """The accounts of a record."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    def first_code(self) -> str | None:
        """A one-time code for the first admin, for the first start to print; None later on.

        Each call gives another one, and only the last holds.
        """
        with self._database.writing() as connection:
            if _active_admins(connection):
                return None
            return _new_code(connection, _FIRST_ADMIN)

    def add(self, name: str, role: Role, actor: str) -> str:
        """Add an account; gives the one-time code by which its owner sets a password.

        Raises:
            UsageError: the name is taken, or is no name.
        """
        name = _read_name(name)
        with self._database.writing() as connection:
            if _find(connection, name) is not None:
                raise UsageError(f"there is an account {name} already")
            connection.execute(insert(ACCOUNTS).values(_new_account(name, role)))
            self._audit.append_in(connection, actor, "account_added", name, {"role": role.value})
            return _new_code(connection, name)

    def reset(self, name: str, actor: str) -> str:
        """Forget a password and a PIN, end all sessions, lift a lock-out; gives a new code.

        Raises:
            NotInRecordError: there is no such account.
        """
        name = name.casefold()
        with self._database.writing() as connection:
            _require(connection, name)
            forgotten = {"password_hash": None, "pin_hash": None, "failures": 0, "locked_until": 0}
            _change(connection, name, forgotten)
            connection.execute(delete(SESSIONS).where(SESSIONS.c.name == name))
            self._audit.append_in(connection, actor, "account_reset", name)
            return _new_code(connection, name)

    def redeem(self, code: str, name: str, password: str, source: str) -> Session:
        """Set a password with a one-time code, and log in.

        Args:
            code: of `first_code`, `add` or `reset`; holds for 24 hours.
            name: of the account; with the first start's code, the name that the admin chooses.
            password: at least 8 characters.
            source: the address that asks, for the rate limit.

        Raises:
            NotAllowedError: the code is wrong, used or too old, or there were too many attempts.
            UsageError: the password is too short or is the name.
        """
        self._count_attempt(source)
        name = _read_name(name)
        _require_password(password, name)
        password_hash = hash_secret(password)
        with self._database.writing() as connection:
            is_first = _take_code(connection, code, name)
            if is_first:
                if _active_admins(connection) or _find(connection, name) is not None:
                    raise NotAllowedError("there is such an account already: log in")
                connection.execute(insert(ACCOUNTS).values(_new_account(name, Role.ADMIN)))
                self._audit.append_in(connection, name, "account_added", name, {"role": "admin"})
            _change(connection, name, {"password_hash": password_hash, "failures": 0})
            self._audit.append_in(connection, name, "password_set", name)
            return self._new_session(connection, _require(connection, name))

    def log_in(self, name: str, password: str, source: str) -> Session:
        """Raises NotAllowedError: wrong, disabled, locked out, or too many attempts.

        The message does not tell which of name and password was wrong. After 5 wrong passwords
        the account is locked for a minute, then two, at most 15; 20 attempts a minute from one
        address are answered.
        """
        self._count_attempt(source)
        name = name.casefold()
        row = self._begin_log_in(name)
        stored = None if row is None else row["password_hash"]
        if not is_secret(password[:_MOST_PASSWORD], stored) or row is None or row["is_disabled"]:
            # What was typed as a name may be a password: an unknown one is not written down.
            self._audit.append("", "log_in_refused", name if row is not None else "")
            raise NotAllowedError(_WRONG)
        with self._database.writing() as connection:
            # Their password or their account may have been taken away while we compared.
            now = _require(connection, name)
            if now["password_hash"] != stored or now["is_disabled"]:
                raise NotAllowedError(_WRONG)
            _change(connection, name, {"failures": 0, "locked_until": 0})
            self._audit.append_in(connection, name, "logged_in", name)
            return self._new_session(connection, now)

    def session(self, token: str) -> Session:
        """The session of a cookie; counts as activity.

        Raises:
            NotAllowedError: unknown, ended, over 12 hours old, or idle for 30 minutes.
        """
        now = time.time()
        with self._database.reading() as connection:
            row = _open_session(connection, token, now)
        if abs(now - row["last_used"]) > _TOUCH_SECONDS:  # not a write for each request
            touched = update(SESSIONS).where(SESSIONS.c.token_hash == _hash(token))
            with self._database.writing() as connection:
                connection.execute(touched.values(last_used=now))
        return _to_session(token, row)

    def log_out(self, token: str) -> None:
        """End a session; nothing where there is none."""
        with self._database.writing() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.token_hash == _hash(token)))

    def lock(self, token: str) -> None:
        """Lock a session until `unlock`; raises NotAllowedError where its user has no PIN."""
        with self._database.writing() as connection:
            row = _open_session(connection, token, time.time())
            if row["pin_hash"] is None:
                raise NotAllowedError("set a PIN first, then the screen can be locked by it")
            locked = update(SESSIONS).where(SESSIONS.c.token_hash == _hash(token))
            connection.execute(locked.values(is_locked=True, wrong_pins=0))

    def unlock(self, token: str, pin: str) -> Session:
        """Raises NotAllowedError: wrong; the fifth wrong PIN ends the session."""
        this = SESSIONS.c.token_hash == _hash(token)
        with self._database.writing() as connection:
            row = _open_session(connection, token, time.time())
            # Counted before it is compared: many at once are not more than five either.
            tried = row["wrong_pins"] + 1
            connection.execute(update(SESSIONS).where(this).values(wrong_pins=tried))
        is_right = tried <= _MOST_WRONG_PINS and is_secret(pin[:_MOST_PASSWORD], row["pin_hash"])
        with self._database.writing() as connection:
            if is_right:
                opened = update(SESSIONS).where(this).values(is_locked=False, wrong_pins=0)
                connection.execute(opened)
            elif tried >= _MOST_WRONG_PINS:
                connection.execute(delete(SESSIONS).where(this))
                self._audit.append_in(connection, row["name"], "pin_refused", row["name"])
        if not is_right:
            raise NotAllowedError(
                "the PIN is wrong"
                if tried < _MOST_WRONG_PINS
                else "the PIN was wrong too often: log in again"
            )
        return self.session(token)

    def set_pin(self, token: str, pin: str) -> None:
        """Set the PIN of a session's user; raises UsageError unless it is 4 to 12 digits."""
        if not _PIN.fullmatch(pin) or len(set(pin)) == 1:
            raise UsageError("a PIN is 4 to 12 digits, not all the same")
        name = self._unlocked(token)
        pin_hash = hash_secret(pin)
        with self._database.writing() as connection:
            _change(connection, name, {"pin_hash": pin_hash})
            self._audit.append_in(connection, name, "pin_set", name)

    def change_password(self, token: str, old: str, new: str) -> None:
        """Change the password of a session's user; their other sessions end.

        Raises:
            NotAllowedError: the old one is wrong.
            UsageError: the new one is too short.
        """
        name = self._unlocked(token)
        _require_password(new, name)
        row = self._begin_log_in(name)
        if row is None or not is_secret(old[:_MOST_PASSWORD], row["password_hash"]):
            raise NotAllowedError("the old password is wrong")
        values = {"password_hash": hash_secret(new), "failures": 0, "locked_until": 0}
        others = (SESSIONS.c.name == name) & (SESSIONS.c.token_hash != _hash(token))
        with self._database.writing() as connection:
            _change(connection, name, values)
            connection.execute(delete(SESSIONS).where(others))
            self._audit.append_in(connection, name, "password_set", name)

    def change(
        self, name: str, actor: str, *, role: Role | None = None, is_disabled: bool | None = None
    ) -> Account:
        """Change an account's role or shut it; raises UsageError for the last active admin."""
        name = name.casefold()
        values: dict[str, Any] = {}
        if role is not None:
            values["role"] = role.value
        if is_disabled is not None:
            values["is_disabled"] = is_disabled
        with self._database.writing() as connection:
            _require(connection, name)
            if values:
                _change(connection, name, values)
            if not _active_admins(connection):
                raise UsageError(f"{name} is the only admin: make another one first")
            if is_disabled:
                connection.execute(delete(SESSIONS).where(SESSIONS.c.name == name))
            self._audit.append_in(connection, actor, "account_changed", name, values)
            return _to_account(_require(connection, name))

    def all(self) -> tuple[Account, ...]:
        """Every account, by name."""
        with self._database.reading() as connection:
            rows = connection.execute(select(ACCOUNTS).order_by(ACCOUNTS.c.name)).mappings()
            return tuple(_to_account(dict(row)) for row in rows)

    def _count_attempt(self, source: str) -> None:
        now = time.time()
        # Of a clock that was set back, those of the future go as well.
        is_old = ~ATTEMPTS.c.at.between(now - _WINDOW_SECONDS, now)
        of_source = select(func.count()).where(ATTEMPTS.c.source == source)
        with self._database.writing() as connection:
            connection.execute(delete(ATTEMPTS).where(is_old))
            if connection.execute(of_source).scalar_one() >= _ATTEMPTS_IN_WINDOW:
                raise NotAllowedError("too many attempts: wait a minute, then try again")
            connection.execute(insert(ATTEMPTS).values(source=source, at=now))

    def _begin_log_in(self, name: str) -> Mapping[str, Any] | None:
        """Count a failure before the password is compared: many at once are counted too.

        Raises:
            NotAllowedError: the account is locked.
        """
        now = time.time()
        with self._database.writing() as connection:
            row = _find(connection, name)
            if row is None:
                return None
            if 0 < (left := row["locked_until"] - now) <= _LONGEST_LOCK:
                raise NotAllowedError(
                    f"too many wrong passwords: try again in {math.ceil(left / 60)} min"
                )
            failures = row["failures"] + 1
            lock_seconds = _lock_seconds(failures)
            until = now + lock_seconds if lock_seconds else 0.0
            _change(connection, name, {"failures": failures, "locked_until": until})
            return row

    def _new_session(self, connection: Connection, account: Mapping[str, Any]) -> Session:
        now = time.time()
        token = secrets.token_urlsafe(32)
        is_over = (SESSIONS.c.expires < now) | (SESSIONS.c.last_used < now - _IDLE_SECONDS)
        connection.execute(delete(SESSIONS).where(is_over))
        values = {
            "name": account["name"],
            "expires": now + _SESSION_SECONDS,
            "last_used": now,
            "is_locked": False,
            "wrong_pins": 0,
        }
        connection.execute(insert(SESSIONS).values({**values, "token_hash": _hash(token)}))
        return _to_session(token, {**account, **values})

    def _unlocked(self, token: str) -> str:
        """The name of the user of a session that is not locked."""
        session = self.session(token)
        if session.is_locked:
            raise NotAllowedError("the screen is locked: enter the PIN first")
        return session.account.name


def _lock_seconds(failures: int) -> float:
    """0 for the first failures, then 1, 2, 4, ... minutes."""
    over = failures - _FAILURES_BEFORE_LOCK
    return 0.0 if over < 0 else min(60.0 * 2 ** min(over, 8), _LONGEST_LOCK)


def _read_name(name: str) -> str:
    name = name.strip().casefold()
    if not _NAME.fullmatch(name):
        raise UsageError(
            "an account's name is 1 to 40 letters, digits, dots, hyphens or @, a letter or a "
            "digit first"
        )
    return name


def _require_password(password: str, name: str) -> None:
    if not _LEAST_PASSWORD <= len(password) <= _MOST_PASSWORD:
        raise UsageError(f"a password has {_LEAST_PASSWORD} to {_MOST_PASSWORD} characters")
    if password.casefold() == name or len(set(password)) < 4:
        raise UsageError("this password is too easy to guess: no name, no repetition")


def _new_account(name: str, role: Role) -> dict[str, Any]:
    return {
        "name": name,
        "role": role.value,
        "password_hash": None,
        "pin_hash": None,
        "is_disabled": False,
        "created_at": utc_now(),
        "failures": 0,
        "locked_until": 0.0,
    }


def _new_code(connection: Connection, name: str) -> str:
    code = new_identifier()
    connection.execute(delete(CODES).where(CODES.c.name == name))
    values = {"name": name, "code_hash": _hash(code), "expires": time.time() + _CODE_SECONDS}
    connection.execute(insert(CODES).values(values))
    return show_identifier(code)


def _take_code(connection: Connection, code: str, name: str) -> bool:
    """Use a code up; True for the first admin's."""
    now = time.time()
    is_this = (CODES.c.code_hash == _hash(read_identifier(code))) & CODES.c.name.in_(
        (name, _FIRST_ADMIN)
    )
    found = connection.execute(select(CODES).where(is_this)).mappings().first()
    if found is None or not 0 < found["expires"] - now <= _CODE_SECONDS:
        raise NotAllowedError("the code is wrong, was used already, or is older than 24 hours")
    connection.execute(delete(CODES).where(CODES.c.name == found["name"]))
    return bool(found["name"] == _FIRST_ADMIN)


def _find(connection: Connection, name: str) -> Mapping[str, Any] | None:
    found = connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.name == name)).mappings().first()
    return None if found is None else dict(found)


def _require(connection: Connection, name: str) -> Mapping[str, Any]:
    row = _find(connection, name)
    if row is None:
        raise NotInRecordError(f"there is no account {name!r}")
    return row


def _change(connection: Connection, name: str, values: Mapping[str, Any]) -> None:
    connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.name == name).values(dict(values)))


def _active_admins(connection: Connection) -> int:
    is_one = (ACCOUNTS.c.role == Role.ADMIN.value) & ~ACCOUNTS.c.is_disabled
    return connection.execute(select(func.count()).where(is_one)).scalar_one()


def _open_session(connection: Connection, token: str, now: float) -> Mapping[str, Any]:
    """A session's row with its account's; raises NotAllowedError where it does not hold."""
    joined = select(SESSIONS, ACCOUNTS).join(ACCOUNTS, SESSIONS.c.name == ACCOUNTS.c.name)
    found = connection.execute(joined.where(SESSIONS.c.token_hash == _hash(token))).first()
    row = None if found is None else _by_name(found)
    if (
        row is None
        or row["is_disabled"]
        or not 0 < row["expires"] - now <= _SESSION_SECONDS
        or now - row["last_used"] > _IDLE_SECONDS
    ):
        raise NotAllowedError("the session has ended: log in again")
    return row


def _by_name(row: Row[Any]) -> dict[str, Any]:
    return {column.name: value for column, value in zip(_BOTH, row, strict=True)}


_BOTH = (*SESSIONS.c, *ACCOUNTS.c)


def _to_session(token: str, row: Mapping[str, Any]) -> Session:
    expires = datetime.fromtimestamp(row["expires"], UTC).isoformat(timespec="milliseconds")
    return Session(
        token=token,
        account=_to_account(row),
        csrf=_hash(f"csrf {token}"),
        expires_at=expires.replace("+00:00", "Z"),
        is_locked=bool(row["is_locked"]),
    )


def _to_account(row: Mapping[str, Any]) -> Account:
    return Account(
        name=row["name"],
        role=Role(row["role"]),
        has_password=row["password_hash"] is not None,
        has_pin=row["pin_hash"] is not None,
        is_disabled=bool(row["is_disabled"]),
        created_at=row["created_at"],
    )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
