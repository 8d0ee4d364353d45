"""pydicom, loaded without what it would only need to download its test files.

Where `requests` is installed, pydicom imports it, and urllib3 with it, which opens a socket to see
whether the machine speaks IPv6. Nothing here downloads anything: pydicom does without, and starts
faster.
"""

import sys
from typing import Any


def load_pydicom() -> None:
    """Import pydicom once, before any other module of it is.

    Raises:
        ImportError: it is not installed.
    """
    if "pydicom" in sys.modules or "requests" in sys.modules:
        import pydicom

        return
    modules: dict[str, Any] = sys.modules
    modules["requests"] = None  # "not installed", as the import system takes it
    try:
        import pydicom  # noqa: F401
    finally:
        del modules["requests"]
