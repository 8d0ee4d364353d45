"""Identifiers that people read aloud and type: ten signs of Crockford's base 32, at random.

Without I, L, O and U: what looks like 1 or 0 is read as such. 50 bits.
"""

import re
import secrets

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 10
_LOOK_ALIKE = str.maketrans("ILO", "110")


def new_identifier() -> str:
    """Another one each time."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def read_identifier(text: str) -> str:
    """An identifier as it was typed; "" where it cannot be one."""
    signs = re.sub(r"[\s-]", "", text).upper().translate(_LOOK_ALIKE)
    is_one = len(signs) == _LENGTH and set(signs) <= set(_ALPHABET)
    return signs if is_one else ""


def show_identifier(identifier: str) -> str:
    """In two halves: 7K3QF-9M2XA."""
    return f"{identifier[:5]}-{identifier[5:]}"
