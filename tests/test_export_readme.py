"""The README's part about formats: written between its markers, or refused with a reason."""

from pathlib import Path

import pytest

from export.__main__ import main


@pytest.mark.parametrize("content", [None, b"\xff\xfe no UTF-8"])
def test_a_readme_that_cannot_be_read_is_a_usage_error(
    tmp_path: Path,
    tiny_bundle_folder: Path,
    content: bytes | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    readme = tmp_path / "README.md"
    if content is not None:
        readme.write_bytes(content)
    report = str(tmp_path / "none.json")
    assert main(["readme", str(tiny_bundle_folder), str(readme), "--report", report]) == 2
    assert "README.md: cannot be read" in capsys.readouterr().err
