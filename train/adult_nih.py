"""The adult development set: NIH ChestX-ray14 frontal images with the RSNA re-reading.

A folder with `labels.csv` enters, samples leave: `Lung Opacity` is positive, `Normal` negative;
`No Lung Opacity / Not Normal` (other findings) stands apart, since it is neither.
Wang et al. 2017 (CVPR); RSNA Pneumonia Detection Challenge 2018. Not for training.
"""

from pathlib import Path

from edge_app.errors import DataError
from edge_app.images.labelled_pictures import LabelledPicture, Labelling, read_labelled_pictures

_SICK, _HEALTHY, OTHER = "Lung Opacity", "Normal", "No Lung Opacity / Not Normal"


def read_adult_nih(folder: Path) -> tuple[list[LabelledPicture], list[LabelledPicture]]:
    """Samples of the two classes, and those with other findings (labelled 0).

    Raises:
        NoInputError: not that folder.
        DataError: a class that is not known, a missing file, or a row without patient or view.
    """
    table = folder / "labels.csv"
    columns = {"label": "rsna_class", "patient_id": "patient_id", "view": "view"}
    labelling = Labelling((_SICK,), (_HEALTHY, OTHER), columns=columns)
    everyone = read_labelled_pictures(table, labelling)
    for sample in everyone:
        if sample.patient_is_unknown or not sample.view:
            raise DataError(f"{table}: {sample.name}: patient_id or view is empty")
    two_classes = Labelling((_SICK,), (_HEALTHY,), (OTHER,), columns)
    wanted = read_labelled_pictures(table, two_classes)
    names = {sample.name for sample in wanted}
    return wanted, [sample for sample in everyone if sample.name not in names]
