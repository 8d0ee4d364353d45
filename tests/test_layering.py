"""The dependency rule: what ships knows nothing of what trains."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.layering import (
    FLOORS,
    FORBIDDEN,
    find_breaches,
    find_circle,
    find_floor_breaches,
    import_everything,
)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_import_statements_keep_to_the_rule(package: str) -> None:
    assert find_breaches(REPOSITORY, package) == []


def test_imports_run_down_the_floors_only() -> None:
    assert find_floor_breaches(REPOSITORY) == []
    assert find_circle(REPOSITORY) == []
    assert find_circle(REPOSITORY, "export") == []


def test_every_room_has_a_floor_and_the_hall_is_empty() -> None:
    rooms = {room for floor in FLOORS for room in floor}
    hall = REPOSITORY / "edge_app"
    packages = {path.parent.name for path in hall.glob("*/__init__.py")}
    modules = {path.stem for path in hall.glob("*.py")}
    assert packages | modules <= rooms
    files = "__init__ __main__ cores decision errors pneumoscope progress version"
    assert modules == set(files.split())


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("statistics/intervals.py", "from edge_app.files import codec"),
        ("images/read.py", "def f():\n    from edge_app.bundle.manifest import Bundle"),
        ("images/read.py", "import edge_app.files.codec"),  # its neighbour on the same floor
        ("runs/batch.py", "from edge_app.cli import main"),
        ("files/codec.py", "from edge_app import load_bundle"),
        ("bundle/load.py", "from edge_app.garage.car import drive"),
    ],
)
def test_an_import_that_runs_up_is_found(copy: Path, module: str, statement: str) -> None:
    path = copy / "edge_app" / module
    path.write_text(path.read_text(encoding="utf-8") + f"\n{statement}\n", encoding="utf-8")
    (breach,) = find_floor_breaches(copy)
    assert breach.file == f"edge_app/{module}"


def test_a_circle_within_a_room_is_found(copy: Path) -> None:
    path = copy / "edge_app" / "bundle" / "signature.py"
    hidden = "\ndef f():\n    from edge_app.bundle.load import load_bundle\n"
    path.write_text(path.read_text(encoding="utf-8") + hidden, encoding="utf-8")
    assert find_floor_breaches(copy) == []
    assert {"edge_app.bundle.signature", "edge_app.bundle.load"} <= set(find_circle(copy))


def test_every_module_loads_where_the_frameworks_are_blocked() -> None:
    done = import_everything(REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 25


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("bundles", "__pycache__")
    shutil.copytree(REPOSITORY / "edge_app", tmp_path / "edge_app", ignore=ignored)
    return tmp_path


def test_an_import_of_tensorflow_is_found_in_any_module(copy: Path) -> None:
    # All at once: each one alone would parse the whole tree as often as it has modules.
    changed = set()
    for path in (copy / "edge_app").rglob("*.py"):
        path.write_text(
            path.read_text(encoding="utf-8") + "\nimport tensorflow\n", encoding="utf-8"
        )
        changed.add((path.relative_to(copy).as_posix(), "tensorflow"))
    breaches = find_breaches(copy, "edge_app")
    assert {(breach.file, breach.imported) for breach in breaches} == changed
    assert len(breaches) == len(changed)


@pytest.mark.parametrize(
    "statement",
    [
        "import keras.layers",
        "from torch.nn import Linear",
        "import numpy, jax",
        "def f():\n    from train import config",
        "from export.parity import gate",
        "import importlib\nimportlib.import_module('tf2onnx.convert')",
        "__import__('tensorflow')",
    ],
)
def test_every_way_to_import_is_found(copy: Path, statement: str) -> None:
    (copy / "edge_app" / "extra.py").write_text(statement + "\n", encoding="utf-8")
    assert len(find_breaches(copy, "edge_app")) == 1


def test_a_hidden_import_fails_where_the_frameworks_are_blocked(copy: Path) -> None:
    assert import_everything(copy).returncode == 0
    hidden = "\nname = 'tensor' + 'flow'\n__import__(name)\n"
    path = copy / "edge_app" / "decision.py"
    path.write_text(path.read_text(encoding="utf-8") + hidden, encoding="utf-8")
    assert find_breaches(copy, "edge_app") == []  # out of the first check's sight
    done = import_everything(copy)
    assert done.returncode != 0
    assert "layering: tensorflow is blocked" in done.stderr


def test_the_public_names() -> None:
    import edge_app

    assert edge_app.__all__ == [
        "Bundle",
        "BundleError",
        "BundleFormatError",
        "BundleIntegrityError",
        "ConfigError",
        "DataError",
        "Decision",
        "InputError",
        "NoInputError",
        "PneumoscopeError",
        "Radiograph",
        "Reason",
        "RuntimeUnavailableError",
        "Screener",
        "ScreeningResult",
        "SelfTestError",
        "SiteProfileError",
        "Status",
        "StorageError",
        "UnreadableImageError",
        "UnsupportedDicomError",
        "UsageError",
        "__version__",
        "load_bundle",
        "read_image",
    ]
    for name in edge_app.__all__:
        assert getattr(edge_app, name) is not None
    with pytest.raises(AttributeError, match="nonesuch"):
        edge_app.nonesuch  # noqa: B018
