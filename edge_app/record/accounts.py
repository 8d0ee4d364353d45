"""Who may do what: local accounts, log-ins that cannot be guessed, sessions, a PIN to lock one.

Passwords and PINs are kept as argon2id hashes, tokens and codes as SHA-256. There is no default
password: a new account's owner sets one with a code that is shown once.
"""

from dataclasses import dataclass
from enum import StrEnum


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

    def first_code(self) -> str | None:
        """A one-time code for the first admin, for the first start to print; None later on.

        Each call gives another one, and only the last holds.
        """
        raise NotImplementedError

    def add(self, name: str, role: Role, actor: str) -> str:
        """Add an account; gives the one-time code by which its owner sets a password.

        Raises:
            UsageError: the name is taken, or is no name.
        """
        raise NotImplementedError

    def reset(self, name: str, actor: str) -> str:
        """Forget a password and a PIN, end all sessions, lift a lock-out; gives a new code.

        Raises:
            NotInRecordError: there is no such account.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    def log_in(self, name: str, password: str, source: str) -> Session:
        """Raises NotAllowedError: wrong, disabled, locked out, or too many attempts.

        The message does not tell which of name and password was wrong. After 5 wrong passwords
        the account is locked for a minute, then two, at most 15; 20 attempts a minute from one
        address are answered.
        """
        raise NotImplementedError

    def session(self, token: str) -> Session:
        """The session of a cookie; counts as activity.

        Raises:
            NotAllowedError: unknown, ended, over 12 hours old, or idle for 30 minutes.
        """
        raise NotImplementedError

    def log_out(self, token: str) -> None:
        """End a session; nothing where there is none."""
        raise NotImplementedError

    def lock(self, token: str) -> None:
        """Lock a session until `unlock`; raises NotAllowedError where its user has no PIN."""
        raise NotImplementedError

    def unlock(self, token: str, pin: str) -> Session:
        """Raises NotAllowedError: wrong; the fifth wrong PIN ends the session."""
        raise NotImplementedError

    def set_pin(self, token: str, pin: str) -> None:
        """Set the PIN of a session's user; raises UsageError unless it is 4 to 12 digits."""
        raise NotImplementedError

    def change_password(self, token: str, old: str, new: str) -> None:
        """Change the password of a session's user; their other sessions end.

        Raises:
            NotAllowedError: the old one is wrong.
            UsageError: the new one is too short.
        """
        raise NotImplementedError

    def change(
        self, name: str, actor: str, *, role: Role | None = None, is_disabled: bool | None = None
    ) -> Account:
        """Change an account's role or shut it; raises UsageError for the last active admin."""
        raise NotImplementedError

    def all(self) -> tuple[Account, ...]:
        """Every account, by name."""
        raise NotImplementedError
