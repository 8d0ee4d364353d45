"""The outlines and unlabelled pictures that lie beside the project, as rows of one CSV.

The data folder enters, rows of `train.outlines.COLUMNS` leave. What is marked `train` has a
licence that allows it (CC BY, public domain or a package's own free licence, and NIH's films,
which are free to use with citation); everything else is `test`.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from edge_app.errors import DataError
from train.outlines import box_of, read_mask

Row = dict[str, str]

# Samples of pydicom, GDCM and scikit-image: every other one is kept for testing.
_FREE_NEGATIVES = ("dicom_CT", "dicom_MR", "dicom_NM", "dicom_PT", "dicom_US", "photo_skimage")
# ieee8023 (a licence a picture, not stated there) and others whose licence is not stated.
_TEST_NEGATIVES = ("ct_slice", "cxr_lateral", "photo_cameratrap", "photo_rembg", "xray_nonchest")
_SIDES = ("left", "top", "right", "bottom")


def gather(data: Path) -> list[Row]:
    """Rows for the folders `lungs`, `other_sites`, `adult_nih` and `not_chest` below `data`.

    Raises:
        DataError: a folder or a file of them is not there.
    """
    return [*_children(data), *_adults(data), *_tuberculosis(data), *_other_sites(data),
            *_adult_nih(data), *_negatives(data)]  # fmt: skip


def _children(data: Path) -> Iterator[Row]:
    for line in _lines(data / "lungs" / "outlines.csv"):
        part, group, name = Path(line["file"]).parts[-3:]
        mask = f"lungs/masks224/{part}/{group}/{Path(name).stem}.png"
        yield _row(
            line["file"], mask, "frontal", "kermany", "labelled", "CC BY 4.0",
            [line[side] for side in _SIDES],
        )  # fmt: skip


def _adults(data: Path) -> Iterator[Row]:
    for line in _lines(data / "lungs" / "adult_covid" / "index.csv"):
        licence = line["image_licence"]
        free = licence.startswith("CC BY") and "-N" not in licence
        use = "train" if free else "test"
        name = line["v7_id"]
        yield _outlined(data, "lungs/adult_covid", name, "adult_covid", use, licence)


def _tuberculosis(data: Path) -> Iterator[Row]:
    for line in _lines(data / "lungs" / "adult_tb" / "index.csv"):
        site = "shenzhen" if line["name"].startswith("CHN") else "montgomery"
        licence = "CC BY-NC-SA (masks)" if site == "shenzhen" else "not stated"
        yield _outlined(data, "lungs/adult_tb", line["name"], site, "test", licence)


def _other_sites(data: Path) -> Iterator[Row]:
    for line in _lines(data / "other_sites" / "labels.csv"):
        licence = line["licence"]
        free = (licence.startswith("CC BY") and "-N" not in licence) or line["site"] == "nih"
        use = "train" if free else "test"
        yield _row(f"other_sites/{line['file']}", "", "frontal", line["site"], use, licence)


def _adult_nih(data: Path) -> Iterator[Row]:
    """The development adults: a network's box, for looking at, never for training."""
    boxes = {
        line["file"]: [line[side] for side in _SIDES]
        for line in _lines(data / "lungs" / "boxes.csv")
    }
    for line in _lines(data / "adult_nih" / "labels.csv"):
        name = f"adult_nih/{line['file']}"
        yield _row(name, "", "frontal", "adult_nih", "test", "NIH, RSNA labels", boxes.get(name))


def _negatives(data: Path) -> Iterator[Row]:
    for folder in (*_FREE_NEGATIVES, *_TEST_NEGATIVES):
        view = "lateral" if folder == "cxr_lateral" else "none"
        files = sorted((data / "not_chest" / folder).iterdir())
        for index, path in enumerate(files):
            use = "train" if folder in _FREE_NEGATIVES and index % 2 == 0 else "test"
            yield _row(f"not_chest/{folder}/{path.name}", "", view, folder, use, "see the set")


def _outlined(data: Path, folder: str, name: str, site: str, use: str, licence: str) -> Row:
    mask = f"{folder}/masks/{name}.png"
    box = [f"{edge:.5f}" for edge in box_of(read_mask(data / mask))]
    return _row(f"{folder}/images/{name}.jpeg", mask, "frontal", site, use, licence, box)


def _row(
    file: str,
    mask: str,
    view: str,
    site: str,
    use: str,
    licence: str,
    box: list[str] | None = None,
) -> Row:
    row = {"file": file, "mask": mask, "view": view, "site": site, "use": use, "licence": licence}
    return row | dict(zip(_SIDES, box or [""] * 4, strict=True))


def _lines(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
