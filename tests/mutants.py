"""`make mutants`: which small changes of the modules that decide do their tests not notice?

Cosmic Ray changes one operator, number or statement at a time in a copy of the working tree, and
that module's own tests run against it. A mutant that survives is a line that no test pins. Mutants
are taken in a random order that a seed fixes; with a limit of seconds a module, what was not tried
is counted.

python -m tests.mutants [--seconds N] [MODULE ...]
"""

import argparse
import contextlib
import importlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
# A module, and the tests that are to notice.
TESTS: dict[str, tuple[str, ...]] = {
    "edge_app/images/preprocess.py": ("test_preprocess",),
    "edge_app/decision.py": ("test_cli",),
    "edge_app/screening/screener.py": ("test_screener", "test_locator"),
    "edge_app/results/journal.py": ("test_journal", "test_storage"),
    "edge_app/bundle/signature.py": ("test_bundle", "test_store"),
    "train/splits.py": ("test_train_splits",),
    "train/degrade.py": ("test_train_degrade",),
}
# Imported once, before a process is forked for each mutant: they take longer than the tests.
_HEAVY = ("numpy", "PIL.Image", "hypothesis", "cryptography", "pydicom", "onnxruntime")
_SEED = 7
_SECONDS_A_MUTANT = 120


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: what an operator does at its n-th place."""

    operator: str
    occurrence: int
    line: int


def main() -> int:
    """Try the modules in a copy, print what survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(TESTS)}")
    parser.add_argument("--seconds", type=float, default=3600.0, help="a module, at most")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:  # in the copy
        for module in options.modules:
            _try_module(module, options.seconds)
        return 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        _copy_tree(Path(folder))
        command = [sys.executable, "-B", "-m", "tests.mutants", "--here"]
        command += ["--seconds", str(options.seconds), *(options.modules or TESTS)]
        environment = {**os.environ, "PYTHONPATH": folder}
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


def _copy_tree(folder: Path) -> None:
    """The working tree's files that git knows or would take, in a place where they may change."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, target = REPOSITORY / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _try_module(module: str, seconds: float) -> None:
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    for name in _HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    path = Path(module)
    source = path.read_text(encoding="utf-8")
    mutants = [mutant for mutant in _mutants(source) if not _is_of_types(source, mutant)]
    random.Random(_SEED).shuffle(mutants)
    tests = [f"tests/{name}.py" for name in TESTS[module]]
    if not _tests_pass(tests):
        raise SystemExit(f"{module}: its tests fail without a mutant")
    began, found = time.monotonic(), Counter[str]()
    for mutant in mutants:
        if time.monotonic() - began > seconds:
            found["not tried"] += 1
            continue
        operator = get_operator(mutant.operator)()
        changed = mutate_code(source, operator, mutant.occurrence) or source
        path.write_text(changed, encoding="utf-8")
        survives = _tests_pass(tests)
        found["survived" if survives else "killed"] += 1
        if survives:
            print(f"{module}:{mutant.line}: {_difference(source, changed)}", flush=True)
    path.write_text(source, encoding="utf-8")
    counts = ", ".join(f"{found[name]} {name}" for name in ("killed", "survived", "not tried"))
    print(f"{module}: {len(mutants)} mutants: {counts}", flush=True)


def _mutants(source: str) -> Iterator[Mutant]:
    """Every change that an operator of Cosmic Ray can make."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    tree = get_ast(source)
    for name in sorted(operator_names()):
        operator = get_operator(name)
        if operator.arguments():  # those that ask which variable to change
            continue
        places = (
            start for node in ast_nodes(tree) for start, _ in operator().mutation_positions(node)
        )
        for occurrence, (line, _) in enumerate(places):
            yield Mutant(name, occurrence, line)


def _is_of_types(source: str, mutant: Mutant) -> bool:
    """Whether it changes only how types are written: `int | None` has an operator too."""
    line = source.splitlines()[mutant.line - 1]
    return "BitOr" in mutant.operator and (":" in line or "->" in line)


def _tests_pass(tests: list[str]) -> bool:
    """Run them in a process of their own, in which a loop without an end is ended."""
    child = os.fork()
    if child == 0:
        signal.alarm(_SECONDS_A_MUTANT)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        import pytest

        code = 1
        try:
            code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *tests]))
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return status == 0


def _difference(source: str, changed: str) -> str:
    for before, after in zip(source.splitlines(), changed.splitlines(), strict=False):
        if before != after:
            return f"{before.strip()}  ->  {after.strip()}"
    return "a line more or less at the end"


if __name__ == "__main__":
    sys.exit(main())
