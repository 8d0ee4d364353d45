"""The data set of a DICOM file, and its elements one by one, whatever nonsense stands in them.

One wrong length shifts all that follows: a name or an address may then stand where a code belongs.
So texts leave here only in the form that the standard gives their value representation (PS3.5,
section 6.2), and nothing that pydicom says of a value leaves at all. What a file can make us read
is bounded.
"""

import io
import logging
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edge_app.errors import UnreadableImageError, UnsupportedDicomError
from edge_app.images.dicom_library import load_pydicom

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

INSTALL_HINT = "pip install 'pneumoscope[dicom]'"

# A radiograph's header has some hundred elements, each read in two or three steps.
_MAX_READS = 100_000
_MAX_ITEMS = 10_000
# The longest sequence that is asked for holds look-up tables of 128 KiB.
_MAX_SEQUENCE_BYTES = 4 * 1024 * 1024
_HEADER_BYTES = 1 << 18
_ITEM_TAGS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # (FFFE,E000), little and big endian
_PIXEL_DATA_TAGS = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")  # (7FE0,0010)

_FORMS = {
    "CS": re.compile(r"[A-Z0-9 _]{1,16}"),
    "UI": re.compile(r"(?=.{5,64}$)[0-2](\.(0|[1-9]\d*)){2,}"),
}


class _BoundedReader(io.BytesIO):
    """Bytes of a file that let a parser take only so many steps, and inflate nothing."""

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        # Only a deflated data set (PS3.5, A.5) is read to its end at once, and then inflated
        # without a bound: a few kilobytes could become gigabytes. No modality sends this.
        if size is None or size < 0:
            raise UnsupportedDicomError(
                "Transfer Syntax 1.2.840.10008.1.2.1.99 (Deflated) is not read"
            )
        self._reads += 1
        if self._reads > _MAX_READS:
            raise UnreadableImageError(
                f"a DICOM header of more than {_MAX_READS // 2} elements is not read"
            )
        return super().read(size)


def parse_header(data: bytes) -> "Dataset":
    """As `parse`, but what stands before the pixels, or (of a longer one) at its beginning.

    Looking for what would take minutes costs more than all else where the pixels are looked at too.

    Raises:
        UnreadableImageError, UnsupportedDicomError: as of `parse`.
    """
    try:
        return parse(data[:_HEADER_BYTES], pixels=False)
    except UnreadableImageError:
        return parse(data)


def parse(data: bytes, *, pixels: bool = True) -> "Dataset":
    """The data set of a file, with or without the preamble of PS3.10.

    Args:
        data: of the file.
        pixels: whether pixel data are wanted.

    Raises:
        UnreadableImageError: damaged, or made to be read for minutes.
        UnsupportedDicomError: pydicom is missing, or the data set is deflated.
    """
    try:
        load_pydicom()
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError
    except ImportError as error:
        raise UnsupportedDicomError(f"reading DICOM needs a package: {INSTALL_HINT}") from error
    if max(map(data.count, _ITEM_TAGS)) > _MAX_ITEMS:
        raise UnreadableImageError(f"more than {_MAX_ITEMS} sequence items are not read")
    try:
        dataset = dcmread(_BoundedReader(data), force=True, stop_before_pixels=not pixels)
    except (InvalidDicomError, EOFError) as error:
        raise UnreadableImageError("damaged DICOM file: its header ends too early") from error
    if not isinstance(dataset.file_meta.get("TransferSyntaxUID"), str):
        dataset.file_meta.TransferSyntaxUID = _assumed_transfer_syntax(dataset)
    return dataset


def _assumed_transfer_syntax(dataset: "Dataset") -> "UID":
    """What a file without meta information (PS3.10, section 7.1) was read as."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    implicit, little_endian = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian


def mentions_pixel_data(data: bytes) -> bool:
    """Whether the tag of pixel data stands anywhere, be it that it could not be parsed."""
    return any(tag in data for tag in _PIXEL_DATA_TAGS)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's warnings, which quote values, from the terminal."""
    logger = logging.getLogger("pydicom")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


# The keyword of an element, or its tag where it has none of its own.
Key = str | tuple[int, int]


def value(dataset: "Dataset", key: Key) -> Any:
    """An element's value as pydicom converts it; None where it is missing, empty or nonsense."""
    try:
        found = dataset[key].value if key in dataset else None
    except Exception:  # the conversion of hostile bytes raises what it likes
        return None
    return None if isinstance(found, str | bytes) and not found.strip() else found


def values(dataset: "Dataset", key: Key) -> list[Any]:
    """All values of an element, of which there may be one or many."""
    found = value(dataset, key)
    if found is None:
        return []
    is_single = isinstance(found, str | bytes) or not hasattr(found, "__iter__")
    return [found] if is_single else list(found)


def text(dataset: "Dataset", keyword: str) -> str:
    """An element's first value in upper case; empty where it is missing or of another form."""
    from pydicom.datadict import dictionary_VR

    found = "".join(str(first) for first in values(dataset, keyword)[:1]).strip().upper()
    return found if _FORMS[dictionary_VR(keyword)].fullmatch(found) else ""


def free_text(dataset: "Dataset", keyword: str) -> str:
    """An element's values in upper case, of any form: to compare with, never to quote."""
    return " ".join(str(each) for each in values(dataset, keyword)).strip().upper()


def number(dataset: "Dataset", key: Key) -> float | None:
    """An element's first value as a number, None where it is missing or none."""
    try:
        found = float(str(values(dataset, key)[0]))
    except (ValueError, IndexError):
        return None
    return found if math.isfinite(found) else None


def stated_number(dataset: "Dataset", keyword: str) -> float | None:
    """As `number`, of an element that matters.

    Raises:
        UnreadableImageError: something stands there, and it is no number.
    """
    found = number(dataset, keyword)
    if found is None and keyword in dataset and not _is_empty(dataset, keyword):
        raise UnreadableImageError(f"damaged DICOM file: {keyword} is no number")
    return found


def whole_number(dataset: "Dataset", key: Key) -> int | None:
    """As `number`, None also where it is a fraction."""
    found = number(dataset, key)
    return int(found) if found is not None and found.is_integer() else None


def items(dataset: "Dataset", keyword: str) -> list["Dataset"]:
    """The items of a sequence; empty where it is missing or no sequence.

    Raises:
        UnreadableImageError: it is unreasonably long.
    """
    from pydicom.dataset import Dataset

    if keyword not in dataset:
        return []
    raw = dataset.get_item(keyword)
    content = getattr(raw, "value", None)
    if isinstance(content, bytes) and len(content) > _MAX_SEQUENCE_BYTES:
        raise UnreadableImageError(f"{keyword} of {len(content)} bytes is not read")
    return [item for item in values(dataset, keyword) if isinstance(item, Dataset)]


def first_item(dataset: "Dataset", keyword: str) -> "Dataset | None":
    """The first item of a sequence, None where there is none."""
    return next(iter(items(dataset, keyword)), None)


def _is_empty(dataset: "Dataset", keyword: str) -> bool:
    raw = dataset.get_item(keyword)
    content = getattr(raw, "value", None)
    return not content.strip() if isinstance(content, str | bytes) else content is None
