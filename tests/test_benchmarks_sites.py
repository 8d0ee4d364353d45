"""Other sites are reported answer by answer, each site on its own."""

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.cli import main
from edge_app.images.phantom import Phantom, draw_phantom

# Of the tiny network: seed 1 is suspected, seed 3 is not (see tests.tiny_bundle).
SICK, HEALTHY = 1, 3


@pytest.fixture
def table(tmp_path: Path) -> Path:
    lines = ["file,site,label,finding"]
    for number in range(40):
        name = f"{number}.png"
        seed = SICK if number < 25 else HEALTHY
        Image.fromarray(draw_phantom(Phantom(seed), 160, 160)).save(tmp_path / name)
        site = "far" if number < 25 else "near"
        lines.append(f"{name},{site},{'PNEUMONIA' if site == 'far' else ''},film unread")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "t.csv"


def test_each_site_has_its_row_and_small_ones_none(
    table: Path, tiny_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sites", str(table), "--bundle", str(tiny_bundle_folder)]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| far")]
    assert rows == [
        "| far | pneumonia | 25 | 1.00 (0.87–1.00) | " + " | ".join(["0.00 (0.00–0.13)"] * 3) + " |"
    ]


def test_it_goes_between_the_marks_of_a_document(table: Path, tiny_bundle_folder: Path) -> None:
    page = table.parent / "page.md"
    page.write_text("before\n<!-- sites -->\nold\n<!-- /sites -->\nafter\n")
    command = ["sites", str(table), "--bundle", str(tiny_bundle_folder), "--into", str(page)]
    assert main(command) == 0
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("before\n<!-- sites -->\n| site |")
    assert text.endswith("<!-- /sites -->\nafter\n")
    page.write_text("no marks")
    assert main(command) == 2


def test_a_table_without_its_columns_is_an_error(
    table: Path, tiny_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table.write_text("file,label\na.png,NORMAL\n")
    assert main(["sites", str(table), "--bundle", str(tiny_bundle_folder)]) != 0
    assert "needs the columns" in capsys.readouterr().err
