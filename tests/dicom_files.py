"""DICOM objects around drawn phantoms: patient TEST^A, no foreign content."""

from typing import Any

from edge_app.images.phantom import Phantom, draw_phantom

CR = "1.2.840.10008.5.1.4.1.1.1"


def phantom_dataset(
    uid: str, *, seed: int = 1, side: int = 200, study: str = "1.2.77", **more: Any
) -> Any:
    """A computed radiograph of 12 bits of a child of 3 years; `more` sets elements by keyword."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    pixels = draw_phantom(Phantom(seed=seed), side, side, bits=12)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CR
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.1"
    dataset.PatientName, dataset.PatientID = "TEST^A", "A1"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = "", "O", "003Y"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20261101", "101500", "1"
    dataset.ContentDate, dataset.ContentTime = "20261101", "101500"
    dataset.AccessionNumber = dataset.ReferringPhysicianName = dataset.Manufacturer = ""
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "CR", "CHEST", "AP"
    dataset.PatientOrientation, dataset.Laterality = ["L", "F"], ""
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MONOCHROME2", 1
    dataset.Rows = dataset.Columns = side
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
    for name, value in more.items():
        setattr(dataset, name, value)
    return dataset
