"""Run the edge app on a Raspberry Pi's instruction set: an emulated arm64 Debian in a folder.

    python3 -m tests.emulated_pi [--folder FOLDER] [--fresh] [--tests MODULE ...]
                                                                    (as root; `make test-pi`)

Builds a Debian of the host's release for arm64 with debootstrap and qemu-user-static, installs the
wheel of this checkout in it, and runs there: the bundle's self-test in every runtime on the
processors of Raspberry Pi 3, 4 and 5, a batch over the examples, and the edge app's tests. It shows
that everything works on that instruction set, never how fast. Needs root, Debian or one of its kin,
and the network; standard library only.

Every mount lies in a namespace that ends with the command it is for, and what the kernel was told
of qemu is undone at the end, also after a failure. The Debian stays, for the next run.

Nothing here names a mirror: packages come from where the host's apt and pip get theirs, and the
certificates and settings that they need are copied into the folder at run time.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = Path("/var/tmp/pneumoscope-pi")
BINFMT = Path("/proc/sys/fs/binfmt_misc")
DEBIAN_PACKAGES = "python3,python3-venv,ca-certificates"
HOST_TOOLS = {
    "debootstrap": "debootstrap",
    "qemu-aarch64-static": "qemu-user-static",
    "update-binfmts": "binfmt-support",
}
# Tests of the checkout itself or, through subprocesses, of training; of the others that do not
# ship their imports tell.
NOT_EDGE = ("test_layering", "test_emulated_pi", "test_train_")
_IMPORTS_OTHERS = re.compile(r"^\s*(?:from|import) (?:train|export|benchmarks)\b", re.MULTILINE)
# Written before anything else: only a folder that carries it, or an empty one, is ever deleted.
_MARKER = ".pneumoscope-test-pi"
_DONE = ".debootstrap-done"
_HOME = "/opt/pneumoscope"
# The host's way to the package registry: only these variables are handed on.
_PASSED_ON = ("PIP_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "http_proxy", "https_proxy", "no_proxy")
_RUNTIMES = ("litert", "onnxruntime")
# Of Raspberry Pi 3, 4 and 5. Not qemu's own "max": with its SVE, which no Pi has, LiteRT 2.3 gives
# wrong scores (seen under qemu 7.2; right with "max,sve=off").
PROCESSORS = ("cortex-a53", "cortex-a72", "cortex-a76")
PRIVATE_MOUNTS = ("unshare", "--mount", "--propagation", "private")


class PiError(RuntimeError):
    """The emulated machine cannot be made here; the text says what to do."""


def main() -> int:
    """Build, install, test; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="(default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="make the Debian again")
    parser.add_argument(
        "--tests", nargs="+", metavar="MODULE", help="only these, such as tests/test_dicom.py"
    )
    options = parser.parse_args()
    try:
        check_host()
        with emulation():
            build_debian(options.folder, fresh=options.fresh)
            install(options.folder)
            failed = run_all(options.folder, options.tests)
    except PiError as error:
        print(f"test-pi: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"test-pi: failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
        return 1
    print("test-pi: " + ("FAILED: " + ", ".join(failed) if failed else "all passed on aarch64"))
    return 1 if failed else 0


def check_host() -> None:
    """Raises PiError where this is not root on Linux with the tools."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise PiError("needs root on Linux: chroot, mount and binfmt_misc are root's")
    missing = [package for tool, package in HOST_TOOLS.items() if shutil.which(tool) is None]
    if missing:
        raise PiError(f"install first: apt-get install {' '.join(missing)}")


@contextmanager
def emulation() -> Iterator[None]:
    """The kernel runs aarch64 programs through qemu; afterwards it is as it was before."""
    if os.uname().machine == "aarch64":
        yield
        return
    with ExitStack() as undo:
        if not (BINFMT / "status").exists():
            subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=True)
            undo.callback(subprocess.run, ["umount", str(BINFMT)], check=False)
        if not (BINFMT / "qemu-aarch64").exists():
            subprocess.run(["update-binfmts", "--enable", "qemu-aarch64"], check=True)
            disable = ["update-binfmts", "--disable", "qemu-aarch64"]
            undo.callback(subprocess.run, disable, check=False)
        yield


def build_debian(root: Path, *, fresh: bool) -> None:
    """Debootstrap into `root`, unless an earlier run has.

    Raises:
        PiError: `root` holds something that is not ours.
    """
    check_folder(root)
    if fresh and root.exists():
        shutil.rmtree(root)
    if (root / _DONE).exists():
        step(f"the Debian in {root} is there already (--fresh makes it again)")
        return
    release, mirror = debian_release(), debian_mirror()
    step(f"making an arm64 Debian {release} in {root} (some minutes)")
    if root.exists():
        shutil.rmtree(root)
    root.mkdir(parents=True)
    (root / _MARKER).touch()
    # It mounts /proc in there; in a namespace of its own that ends with it, however it ends.
    command = [*PRIVATE_MOUNTS, "debootstrap", "--arch=arm64", "--variant=minbase"]
    command += [f"--include={DEBIAN_PACKAGES}", release, str(root), mirror]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (root / _DONE).touch()


def check_folder(root: Path) -> None:
    """What is in the folder may be deleted: it is absent, empty, or this program made it.

    Raises:
        PiError: it holds anything else.
    """
    if not os.path.lexists(root):
        return
    if root.is_dir() and (not any(root.iterdir()) or (root / _MARKER).is_file()):
        return
    raise PiError(f"{root}: holds what test-pi did not put there; name an absent or empty folder")


def debian_release() -> str:
    """Code name of the host's release."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    try:
        return fields["VERSION_CODENAME"].strip('"')
    except KeyError:
        raise PiError("the host's /etc/os-release names no release") from None


def debian_mirror() -> str:
    """Where the host's apt gets the main archive of its release from.

    Raises:
        PiError: apt has no such source, as on a host that is no Debian.
    """
    shown = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)"],
        check=True,
        capture_output=True,
        text=True,
    )
    return choose_mirror(shown.stdout, debian_release())


def choose_mirror(targets: str, release: str) -> str:
    """The address of the first target that is `release main`; targets are apt's, one a line."""
    for line in targets.splitlines():
        address, _, what = line.partition(" ")
        if what == f"{release} main":
            return address
    raise PiError(f"apt has no source of {release} main: the host must be a Debian")


def install(root: Path) -> None:
    """The wheel of this checkout with its extras, and the tests beside it."""
    copy_settings(root)
    home = root / _HOME.lstrip("/")
    shutil.rmtree(home, ignore_errors=True)
    (home / "wheel").mkdir(parents=True)
    step("building the wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*command, "--wheel-dir", str(home / "wheel"), str(REPOSITORY)], check=True)
    shutil.copytree(
        REPOSITORY / "tests", home / "tests", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, home / name)
    step("installing it in the emulated machine")
    if not (root / "venv").exists():
        inside(root, ["python3", "-m", "venv", "/venv"])
    wheel = next((home / "wheel").glob("*.whl")).name
    pip = ["/venv/bin/pip", "install", "--quiet", "--constraint", f"{_HOME}/constraints.txt"]
    inside(root, [*pip, f"{_HOME}/wheel/{wheel}[onnx,dicom,examples]", "pytest", "hypothesis"])
    # The version has not changed since the last run, the content may have.
    inside(root, [*pip, "--no-deps", "--force-reinstall", f"{_HOME}/wheel/{wheel}"])


def copy_settings(root: Path) -> None:
    """How the host resolves names and reaches its registries."""
    files = [Path("/etc/resolv.conf"), Path("/etc/hosts"), Path("/etc/pip.conf")]
    files += [
        Path(value) for name, value in os.environ.items() if name.endswith(("CERT", "BUNDLE"))
    ]
    files += [Path(value) for name, value in os.environ.items() if name == "SSL_CERT_FILE"]
    for file in files:
        if file.is_file():
            target = root / file.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copy(file.resolve(), target)


def run_all(root: Path, modules: Sequence[str] | None = None) -> list[str]:
    """Run everything there, of the tests only these modules if given; names of what failed."""
    program = "/venv/bin/pneumoscope"
    checks: dict[str, Sequence[str]] = {
        "architecture": ["/venv/bin/python", "-c", _ASSERT_AARCH64],
        "version": [program, "--version"],
    }
    checks["examples"] = [program, "examples", f"{_HOME}/examples"]
    out = f"{_HOME}/out"
    checks["batch"] = [program, "batch", f"{_HOME}/examples", "-o", out]
    checks["validate"] = [program, "validate", f"{out}/results.jsonl"]
    # As they were when they were copied: the checkout may have changed since. A process a module:
    # what crashes one (a library that aborts) must not hide the others.
    pytest = ["/venv/bin/python", "-m", "pytest", "-p", "no:cacheprovider", "--tb=short"]
    for module in modules or edge_tests(root / _HOME.lstrip("/") / "tests"):
        checks[module] = [*pytest, "-rfE", module]
    failed = self_tests(root)
    for name, command in checks.items():
        step(name)
        if inside(root, command, check=False).returncode:
            failed.append(name)
    return failed


def self_tests(root: Path) -> list[str]:
    """The golden inputs on each processor in each runtime, since kernels differ by processor."""
    failed = []
    for cpu in PROCESSORS:
        for runtime in _RUNTIMES:
            name = f"self-test, {cpu}, {runtime}"
            step(name)
            command = ["/venv/bin/pneumoscope", "info", "--self-test", "--runtime", runtime]
            if inside(root, command, check=False, cpu=cpu).returncode:
                failed.append(name)
    return failed


def edge_tests(folder: Path = REPOSITORY / "tests") -> list[str]:
    """Test modules of what ships, relative to the repository."""
    return [
        f"tests/{module.name}"
        for module in sorted(folder.glob("test_*.py"))
        if not module.name.startswith(NOT_EDGE)
        and not _IMPORTS_OTHERS.search(module.read_text(encoding="utf-8"))
    ]


_ASSERT_AARCH64 = "import platform; m = platform.machine(); print(m); assert m == 'aarch64'"


def inside(
    root: Path, command: Sequence[str], *, check: bool = True, cpu: str = PROCESSORS[-1]
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command in the emulated machine; its mounts end with it."""
    # A mount namespace of its own: nothing stays mounted, whatever happens. Of /sys only the list
    # of processors: in the host's, onnxruntime looks for the features of an Arm processor and dies
    # of what it finds (seen with 1.32 under qemu 7.2); without the list, the runtimes complain on
    # stderr and do not use what the processor can do.
    script = (
        'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && '
        'mount -t tmpfs tmpfs "$0/tmp" && mount -t tmpfs tmpfs "$0/sys" && '
        'list="$0/sys/devices/system/cpu" && mkdir -p "$list" && '
        'echo 0-1 > "$list/possible" && echo 0-1 > "$list/present" && '
        'exec chroot "$0" /bin/sh -c \'cd "$0" && exec "$@"\' "$@"'
    )
    return subprocess.run(
        [*PRIVATE_MOUNTS, "/bin/sh", "-c", script, str(root.resolve()), _HOME, *command],
        check=check,
        env=environment() | {"QEMU_CPU": cpu},
    )


def environment(host: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a command inside sees: the host's way to its registries, and nothing else of it."""
    passed = {name: value for name, value in host.items() if name.startswith(_PASSED_ON)}
    # A folder of wheels on the host is not there inside.
    passed.pop("PIP_FIND_LINKS", None)
    own = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
    return {**passed, **own, "DEBIAN_FRONTEND": "noninteractive", "PYTHONDONTWRITEBYTECODE": "1"}


def step(text: str) -> None:
    """One line of progress."""
    print(f"test-pi: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
