"""`import pneumoscope`: the distribution's name for what `edge_app` exports, and nothing else.

Installed beside `edge_app`, as the module `pneumoscope` (pyproject.toml says how): the names are
the very objects of `edge_app`, imported when they are first used. `python -m pneumoscope` is the
command.
"""

import edge_app

__version__ = edge_app.__version__
__all__ = list(edge_app.__all__)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge_app import *  # noqa: F403


def __getattr__(name: str) -> object:
    """A public name of `edge_app` (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'pneumoscope' has no attribute {name!r}")
    return getattr(edge_app, name)


def __dir__() -> list[str]:
    return __all__


if __name__ == "__main__":
    import sys

    from edge_app.cli import main

    sys.exit(main())
