"""Run tests of the runtimes as on a processor with AVX2 alone: no AVX-512, no VNNI.

    python -m tests.emulated_cpu [MODULE ...]                       (`make test-no-vnni`)

qemu's user emulation stands in for an old laptop (Debian: apt-get install qemu-user). Integer
kernels are chosen by the processor, and wrong ones raise nothing: they give other scores. What is
run are the tests that hold scores of every runtime against references, in one process, since child
processes would run on the real processor; TensorFlow is left out, which takes an hour there. It
shows that scores are right on that instruction set, never how fast.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
EMULATOR = "qemu-x86_64"
# The first with AVX2 and FMA, of 2013.
PROCESSOR = "Haswell"
MODULES = (
    "test_runtimes",
    "test_selftest",
    "test_locator",
    "test_default_bundle",
    "test_preprocess",
)


def main() -> int:
    """Run pytest under the emulator; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.emulated_cpu")
    parser.add_argument("modules", nargs="*", default=MODULES, metavar="MODULE")
    options = parser.parse_args()
    emulator = shutil.which(EMULATOR)
    if emulator is None:
        print(f"{EMULATOR} is not here: apt-get install qemu-user", file=sys.stderr)
        return 2
    # The emulator loads programs, not the links and scripts that a virtual environment is made of.
    python = os.path.realpath(sys.executable)
    tests = [str(REPOSITORY / "tests" / f"{name}.py") for name in options.modules]
    command = [emulator, "-cpu", PROCESSOR, python, "-m", "pytest", "-p", "no:cacheprovider"]
    paths = os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)])
    # A test that starts a child would find the real processor there.
    chosen = ["-k", "not announcement and not reader_that_goes"]
    return subprocess.run(
        [*command, *chosen, *tests], env=os.environ | {"PYTHONPATH": paths}, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
