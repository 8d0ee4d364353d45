"""Pictures and DICOM files that the tests make for themselves."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """A Pillow image as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def gradient(height: int = 160, width: int = 200) -> npt.NDArray[np.uint8]:
    """A picture whose corners differ: bright at the right, and darker towards the bottom."""
    y, x = np.mgrid[0:height, 0:width]
    return (200 * x / width + 55 * (1 - y / height)).astype(np.uint8)


def dicom_bytes(
    stored: npt.NDArray[Any],
    *,
    transfer_syntax: str = "1.2.840.10008.1.2.1",
    with_meta: bool = True,
    **elements: Any,
) -> bytes:
    """A DICOM file around stored pixel values; `elements` are set or, where None, left out."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.filewriter import dcmwrite
    from pydicom.uid import UID

    dataset = Dataset()
    defaults = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1",
        "SOPInstanceUID": "1.2.3.4.5",
        "Modality": "DX",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "AP",
        "Rows": stored.shape[-2],
        "Columns": stored.shape[-1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": stored.dtype.itemsize * 8,
        "BitsStored": stored.dtype.itemsize * 8,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
    }
    merged = defaults | elements
    merged.setdefault("HighBit", (merged["BitsStored"] or 1) - 1)
    for keyword, value in merged.items():
        if value is not None:
            setattr(dataset, keyword, value)
    big_endian = transfer_syntax == "1.2.840.10008.1.2.2"
    order = ">" if big_endian else "<"
    dataset.PixelData = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    dataset["PixelData"].VR = "OB" if stored.dtype.itemsize == 1 else "OW"
    implicit = transfer_syntax == "1.2.840.10008.1.2"
    stream = io.BytesIO()
    if with_meta:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax)
        dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", "1.2")
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2")
    dcmwrite(
        stream,
        dataset,
        enforce_file_format=with_meta,
        **({} if with_meta else {"implicit_vr": implicit, "little_endian": not big_endian}),
    )
    return stream.getvalue()
