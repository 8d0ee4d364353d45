"""Who may import whom: a checker of import statements, and one of real imports.

`edge_app` imports neither the other folders nor a training framework; `export` does not import
`train`, nor the other way round.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FRAMEWORKS = frozenset({"tensorflow", "keras", "torch", "jax", "jaxlib", "tf2onnx"})
FORBIDDEN = {
    "edge_app": FRAMEWORKS | {"train", "export", "benchmarks", "tests"},
    "export": frozenset({"train", "benchmarks", "tests"}),
    "train": frozenset({"export", "benchmarks", "tests"}),
}


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
