"""An answer's picture as a DICOM Secondary Capture (PS3.3 A.8), in the film's study.

JPEG Baseline, since a queue for a PACS that is away holds thousands; the sender decompresses it for
one that takes no JPEG.
"""

import io
from datetime import datetime
from typing import TYPE_CHECKING

from PIL import Image

from edge_app.dicom_out.identity import identity_of
from edge_app.dicom_out.source import Source
from edge_app.dicom_out.wording import CAUTION, series_description
from edge_app.images.dicom_own import MANUFACTURER, MODEL_NAME, SECONDARY_CAPTURE
from edge_app.results.rows import ResultRow
from edge_app.version import __version__

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SERIES_NUMBER = 9702
_JPEG_QUALITY = 90


def secondary_capture(
    source: Source,
    row: ResultRow,
    picture: Image.Image,
    *,
    is_turned: bool,
    has_heat: bool = False,
) -> "Dataset":
    """The object of a picture.

    Args:
        source: the film.
        row: what was answered.
        picture: RGB.
        has_heat: whether heat is drawn in it.
        is_turned: whether the film was turned upright, so that its orientation is another.
    """
    from pydicom.dataset import Dataset
    from pydicom.uid import JPEGBaseline8Bit

    identity = identity_of("sc heat" if has_heat else "sc", source, row)
    now = datetime.now()
    capture = Dataset()
    source.copy_into(capture)
    capture.SOPClassUID, capture.SOPInstanceUID = SECONDARY_CAPTURE, identity.sop_instance_uid
    capture.SeriesInstanceUID, capture.SeriesNumber = identity.series_uid, SERIES_NUMBER
    capture.InstanceNumber = 1
    capture.Modality, capture.ConversionType = "OT", "WSD"
    capture.SeriesDescription = series_description(row)
    capture.Laterality = ""  # type 2C: dciodvfy misses it where no body part says it is unpaired
    capture.ContentDate = capture.SeriesDate = capture.InstanceCreationDate = f"{now:%Y%m%d}"
    capture.ContentTime = capture.SeriesTime = capture.InstanceCreationTime = f"{now:%H%M%S}"
    capture.DateOfSecondaryCapture, capture.TimeOfSecondaryCapture = (
        capture.ContentDate,
        capture.ContentTime,
    )
    capture.Manufacturer, capture.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    capture.SoftwareVersions = __version__
    capture.ContentQualification = "RESEARCH"
    capture.BurnedInAnnotation = "YES"
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.ImageComments = CAUTION
    capture.PatientOrientation = [] if is_turned else list(source.orientation)
    _refer(capture, source)
    _set_pixels(capture, picture)
    capture.ensure_file_meta()
    capture.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    return capture


def _refer(capture: "Dataset", source: Source) -> None:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    item = source.reference()
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    item.PurposeOfReferenceCodeSequence = Sequence([purpose])
    capture.SourceImageSequence = Sequence([item])
    source.refer_to_equipment(capture)


def _set_pixels(capture: "Dataset", picture: Image.Image) -> None:
    from pydicom.encaps import encapsulate

    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_JPEG_QUALITY, subsampling="4:2:2")
    coded = stream.getvalue()
    capture.Rows, capture.Columns = picture.height, picture.width
    capture.SamplesPerPixel, capture.PlanarConfiguration = 3, 0
    capture.PhotometricInterpretation = "YBR_FULL_422"
    capture.BitsAllocated = capture.BitsStored = 8
    capture.HighBit, capture.PixelRepresentation = 7, 0
    capture.LossyImageCompression = "01"
    capture.LossyImageCompressionMethod = "ISO_10918_1"
    capture.LossyImageCompressionRatio = round(picture.height * picture.width * 3 / len(coded), 2)
    capture.PixelData = encapsulate([coded])
    capture["PixelData"].is_undefined_length = True
