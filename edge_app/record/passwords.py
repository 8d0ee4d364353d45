"""Passwords and PINs as argon2id hashes (RFC 9106)."""

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# OWASP's least: 19 MiB, two passes, one thread: 0.1 s on a Raspberry Pi 4's core.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# Fifty who log in at once must not take a gigabyte.
_ONE_AT_A_TIME = threading.Lock()
# What an unknown name's password is compared with, so that it takes as long as a known one's.
_OF_NOBODY = (
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)


def hash_secret(secret: str) -> str:
    """A hash with its salt and its parameters."""
    with _ONE_AT_A_TIME:
        return _HASHER.hash(secret)


def is_secret(secret: str, stored: str | None) -> bool:
    """Whether a hash is of this secret; as slow for None, of nobody."""
    with _ONE_AT_A_TIME:
        try:
            return _HASHER.verify(stored or _OF_NOBODY, secret) and stored is not None
        except (VerificationError, InvalidHashError):
            return False
