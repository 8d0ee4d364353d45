"""`import pneumoscope`: the objects that `edge_app` exports, from a wheel and from a checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


@pytest.mark.parametrize("kind", ["build_wheel", "build_editable"])
def test_the_distribution_s_name_is_a_module_of_wheel_and_checkout(
    kind: str, tmp_path: Path
) -> None:
    pytest.importorskip("hatchling")
    build = f"import hatchling.build; print(hatchling.build.{kind}({str(tmp_path)!r}))"
    run = [sys.executable, "-c", build]
    done = subprocess.run(run, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    site = tmp_path / "site"
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        names = {name.partition("/")[0] for name in wheel.namelist() if "dist-info" not in name}
        assert "edge_app/pneumoscope.py" not in wheel.namelist()
        wheel.extractall(site)
    path = "edge_app" if kind == "build_wheel" else "_editable_impl_pneumoscope.pth"
    assert names == {"pneumoscope.py", path}
    script = (
        # First, since the environment that tests may hold another copy of the module.
        "import sys, site; sys.path.insert(0, sys.argv[1]); site.addsitedir(sys.argv[1])\n"
        "import pneumoscope, edge_app\n"
        "assert 'numpy' not in sys.modules, 'loaded before it is used'\n"
        "from pneumoscope import Screener, StorageError, load_bundle, __version__\n"
        "assert pneumoscope.__all__ == edge_app.__all__ == dir(pneumoscope)\n"
        "assert all(getattr(pneumoscope, n) is getattr(edge_app, n) for n in edge_app.__all__)\n"
        "print(pneumoscope.__file__)\n"
    )
    run = [sys.executable, "-c", script, str(site)]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent == site
    run = [sys.executable, "-m", "pneumoscope", "--version"]
    done = subprocess.run(run, cwd=site, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pneumoscope ")


def test_another_name_is_none_of_it() -> None:
    from edge_app import pneumoscope

    with pytest.raises(AttributeError, match="nonesuch"):
        pneumoscope.nonesuch  # noqa: B018
