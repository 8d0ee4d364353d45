"""Who may import whom: a checker of import statements, and one of real imports.

`edge_app` imports neither the other folders nor a training framework; `export` does not import
`train`, nor the other way round. Within `edge_app` imports run down the floors only, and no module
reaches itself again, through imports inside functions either.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

FRAMEWORKS = frozenset({"tensorflow", "keras", "torch", "jax", "jaxlib", "tf2onnx"})
FORBIDDEN = {
    "edge_app": FRAMEWORKS | {"train", "export", "benchmarks", "tests"},
    "export": frozenset({"train", "benchmarks", "tests"}),
    "train": frozenset({"export", "benchmarks", "tests"}),
}

# The rooms of `edge_app` from the top floor down. A room may use every room on a floor below its
# own; rooms on one floor know nothing of each other. A new package needs a place here.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("__main__", "pneumoscope"),
    ("cli",),
    ("__init__",),  # the Python API: names that are imported when they are first used
    ("dicom_net",),
    ("web",),
    ("runs", "fleet"),
    ("record", "dicom_out"),
    ("report", "models", "device"),
    ("screening",),
    ("runtimes", "site"),
    ("bundle", "results"),
    ("images", "files"),
    ("statistics", "cores", "progress", "errors", "decision", "version"),
)


@dataclass(frozen=True, slots=True)
class Breach:
    """A module that imports what it must not."""

    file: str
    line: int
    imported: str


def find_breaches(repository: Path, package: str) -> list[Breach]:
    """Walk every import statement of a package, also those inside functions."""
    breaches = []
    for path in sorted((repository / package).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for line, name in _imported_names(tree):
            if name.partition(".")[0] in FORBIDDEN[package]:
                breaches.append(Breach(path.relative_to(repository).as_posix(), line, name))
    return breaches


def find_floor_breaches(repository: Path) -> list[Breach]:
    """Imports within `edge_app` that do not run downwards; rooms that have no floor."""
    floor_of = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    breaches = []
    for path, line, name in _imports_within(repository):
        here, there = _room(_module_name(repository, path)), _room(name)
        if here != there and not floor_of.get(here, 99) < floor_of.get(there, -1):
            breaches.append(Breach(path.relative_to(repository).as_posix(), line, name))
    return breaches


def find_circle(repository: Path, package: str = "edge_app") -> list[str]:
    """Modules of a package that import each other in a circle; empty where there is none."""
    graph: dict[str, set[str]] = {}
    for path, _, name in _imports_within(repository, package):
        graph.setdefault(_module_name(repository, path), set()).add(name)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _imports_within(repository: Path, package: str = "edge_app") -> Iterator[tuple[Path, int, str]]:
    """(file, line, module) of every import of one module of a package in another."""
    for path in sorted((repository / package).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    module = name if _is_module(repository, name) else node.module
                    if module.partition(".")[0] == package:
                        yield path, node.lineno, module
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.partition(".")[0] == package:
                        yield path, node.lineno, alias.name


def _is_module(repository: Path, name: str) -> bool:
    path = repository.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _module_name(repository: Path, path: Path) -> str:
    name = ".".join(path.relative_to(repository).with_suffix("").parts)
    return name if name == "edge_app.__init__" else name.removesuffix(".__init__")


def _room(module: str) -> str:
    """`edge_app.runs.batch` lies in `runs`; `edge_app` itself is its `__init__`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def _imported_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module
        elif isinstance(node, ast.Call) and _is_dynamic_import(node):
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield node.lineno, argument.value


def _is_dynamic_import(node: ast.Call) -> bool:
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__") and bool(node.args)


_IMPORT_ALL = """
import importlib, pathlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"layering: {name} is blocked")

BLOCKED = set(sys.argv[2:])
sys.meta_path.insert(0, Blocked())
root = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(root))
count = 0
for path in sorted((root / "edge_app").rglob("*.py")):
    parts = path.relative_to(root).with_suffix("").parts
    if parts[-1] == "__main__":
        continue
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    importlib.import_module(name)
    count += 1
loaded = sorted(BLOCKED & {name.partition(".")[0] for name in sys.modules})
assert not loaded, loaded
print(count)
"""


def import_everything(repository: Path) -> subprocess.CompletedProcess[str]:
    """Import every module of `edge_app` in a process in which what is forbidden cannot load.

    Prints the number of modules; another exit status than 0 where one could not be imported.
    """
    command = [sys.executable, "-c", _IMPORT_ALL, str(repository), *sorted(FORBIDDEN["edge_app"])]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
