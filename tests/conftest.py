"""Fixtures that more than one test module uses."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny_bundle import trust_test_key, write_tiny_bundle

REPOSITORY = Path(__file__).resolve().parents[1]

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A runner in the background passes on "ignore Ctrl-C"; the commands under test would inherit
    # it, and those that are to be interrupted would not notice.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real chest X-rays beside the project; skips where it is absent.

    `PNEUMOSCOPE_SHARED_DATA` names another place.
    """
    named = os.environ.get("PNEUMOSCOPE_SHARED_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not (folder / "README.md").is_file():
        pytest.skip(f"needs the real X-rays in {folder.name!r} beside the project, absent here")
    return folder


@pytest.fixture(scope="session")
def shared_cases(shared_data: Path) -> Path:
    """The folder of inputs that once failed, beside the real X-rays; skips where it is absent."""
    folder = shared_data.parent / "cases"
    if not (folder / "README.md").is_file():
        pytest.skip(f"needs the failing inputs in {folder.name!r} beside the project, absent here")
    return folder


@pytest.fixture
def tiny_bundle_folder(tmp_path: Path) -> Path:
    """A valid bundle of a few kilobytes (random weights) that a test may change."""
    return write_tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def signed_bundle_folder(tmp_path: Path, nothing_installed: None) -> Path:
    """The same, signed with a key that is trusted here, so that nothing warns of it."""
    trust_test_key()
    return write_tiny_bundle(tmp_path / "bundle", signed=True)


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty store of models, so that no test meets what the developer has installed."""
    before = os.environ.get("PNEUMOSCOPE_DATA")
    os.environ["PNEUMOSCOPE_DATA"] = str(tmp_path_factory.mktemp("data") / "pneumoscope")
    yield
    if before is None:
        del os.environ["PNEUMOSCOPE_DATA"]
    else:
        os.environ["PNEUMOSCOPE_DATA"] = before
