"""The stored values of a DICOM picture in, the grey values of a viewer out; decodes nothing.

Modality LUT or rescale (PS3.3 C.11.1), the first VOI LUT or window (C.11.2), the presentation's
polarity (C.7.6.3.1.2, C.8.11.3.1.2): one table over the at most 65,536 stored values, so no
floating-point picture is made. Empty elements count as missing, as in DCMTK.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge_app.errors import UnreadableImageError
from edge_app.images.dicom_elements import (
    first_item,
    items,
    number,
    stated_number,
    text,
    value,
    values,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Codes = npt.NDArray[np.unsignedinteger[Any]]
Floats = npt.NDArray[np.float64]

MAX_VALUE = 65535
_BLOCK_PIXELS = 1 << 20


def to_grey(dataset: "Dataset", codes: Codes, bits: int) -> npt.NDArray[np.uint16]:
    """The picture as a viewer would show it first, bright = dense.

    Args:
        dataset: its header.
        codes: (height, width), the stored bits; a sign bit is a bit like the others.
        bits: how many.

    Raises:
        UnreadableImageError: what says how it is shown is damaged.
    """
    return _look_up(codes, _display_table(dataset, codes, bits))


def _display_table(dataset: "Dataset", codes: Codes, bits: int) -> npt.NDArray[np.uint16]:
    """The grey value for each stored code: uint16 (2**bits,)."""
    stored = np.arange(1 << bits, dtype=np.int32)
    if value(dataset, "PixelRepresentation") == 1:
        stored[1 << (bits - 1) :] -= 1 << bits
    padding = _padding(dataset, stored)
    modality = _to_modality(dataset, stored)
    shown = _apply_voi(dataset, modality)
    if shown is None:
        shown = _full_range(modality, _present(codes, bits) & ~padding)
    if _is_inverse(dataset):
        shown = 1 - shown
    table = np.rint(shown * MAX_VALUE).astype(np.uint16)
    table[padding] = 0
    return table


@dataclass(frozen=True, slots=True, eq=False)
class _LookUpTable:
    """(0028,3002) and (0028,3006): entries for the values from `first` on, of so many bits."""

    first: int
    entries: npt.NDArray[np.uint16]
    bits: int

    def look_up(self, inputs: npt.NDArray[Any]) -> Floats:
        """Values below the first entry take the first, above the last the last (C.11.1.1)."""
        places = np.clip(inputs - self.first, 0, len(self.entries) - 1).astype(np.int64)
        found: Floats = self.entries[places].astype(np.float64)
        return found


def _to_modality(dataset: "Dataset", stored: npt.NDArray[np.int32]) -> Floats:
    table = _first_table(dataset, "ModalityLUTSequence", stored)
    if table is not None:
        return table.look_up(stored)
    holder = _holder(dataset, "PixelValueTransformationSequence", "RescaleSlope")
    slope = stated_number(holder, "RescaleSlope")
    intercept = stated_number(holder, "RescaleIntercept")
    # A slope of 0 would make every picture flat; exporters write it for "none".
    return stored.astype(np.float64) * (slope or 1.0) + (intercept or 0.0)


def _apply_voi(dataset: "Dataset", modality: Floats) -> Floats | None:
    """Values of interest in 0..1 by the first VOI LUT, else the first window, else None."""
    whole = np.rint(modality)
    holder = _holder(dataset, "FrameVOILUTSequence", "WindowCenter")
    table = _first_table(dataset, "VOILUTSequence", whole)
    if table is not None:
        return np.clip(table.look_up(whole) / float((1 << table.bits) - 1), 0, 1)
    center, width = number(holder, "WindowCenter"), number(holder, "WindowWidth")
    if center is None or width is None:
        return None
    return apply_window(modality, center, width, text(holder, "VOILUTFunction"))


def _holder(dataset: "Dataset", macro: str, keyword: str) -> "Dataset":
    """Where an element stands: in the data set, or in the functional groups of its only frame.

    PS3.3 C.7.6.16: enhanced objects keep it in a macro of the shared or the frame's groups.
    """
    if keyword in dataset:
        return dataset
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        group = first_item(dataset, groups)
        found = None if group is None else first_item(group, macro)
        if found is not None:
            return found
    return dataset


def _first_table(
    dataset: "Dataset", sequence: str, inputs: npt.NDArray[Any]
) -> _LookUpTable | None:
    """The first look-up table of a sequence; items without entries are passed over.

    Its first mapped value is signed where what it maps goes below zero, whichever of US and SS it
    is written as (C.11.1.1).
    """
    byte_order = ">" if dataset.original_encoding[1] is False else "<"
    for item in items(dataset, sequence):
        table = _read_table(item, byte_order, has_negative=bool(inputs.min() < 0))
        if table is not None:
            return table
    return None


def _read_table(item: "Dataset", byte_order: str, *, has_negative: bool) -> _LookUpTable | None:
    """A look-up table, None for an empty one.

    Raises:
        UnreadableImageError: fewer entries than it says, or an impossible number of bits.
    """
    descriptor, words = (_words(item, key, byte_order) for key in ("LUTDescriptor", "LUTData"))
    if len(descriptor) == 0 or len(words) == 0:
        return None
    if len(descriptor) != 3 or not 1 <= int(descriptor[2]) <= 16:
        raise UnreadableImageError("damaged DICOM file: LUTDescriptor of a look-up table")
    count, first, bits = int(descriptor[0]) or 65536, int(descriptor[1]), int(descriptor[2])
    if has_negative and first >= 0x8000:
        first -= 0x10000
    entries = words
    if bits <= 8 and len(words) < count:
        # An entry of 8 bits fills a byte, the first one a word's lower half (C.11.1.1.1); many
        # write a word an entry all the same.
        entries = np.frombuffer(words.astype("<u2").tobytes(), np.uint8).astype(np.uint16)
    if len(entries) < count:
        raise UnreadableImageError(
            f"damaged DICOM file: a look-up table of {count} entries holds {len(entries)}"
        )
    entries = entries[:count]
    # Entries may be deeper than the descriptor says: they count.
    return _LookUpTable(first, entries, max(bits, int(entries.max()).bit_length()))


def _words(item: "Dataset", keyword: str, byte_order: str) -> npt.NDArray[np.uint16]:
    """Numbers of 16 bits as unsigned ones, whether pydicom has converted them or not."""
    found = value(item, keyword)
    if isinstance(found, bytes):
        return np.frombuffer(found[: len(found) // 2 * 2], f"{byte_order}u2").astype(np.uint16)
    try:
        return (np.array(values(item, keyword), np.int64) & 0xFFFF).astype(np.uint16)
    except (TypeError, ValueError, OverflowError):
        return np.zeros(0, np.uint16)


def apply_window(inputs: Floats, center: float, width: float, function: str) -> Floats | None:
    """Window values onto 0..1 by the formulas of PS3.3 C.11.2.1.2 and C.11.2.1.3.

    Args:
        inputs: modality values, any shape, float64.
        center, width: (0028,1050) and (0028,1051), in modality units.
        function: (0028,1056): LINEAR_EXACT, SIGMOID, or anything else for LINEAR.

    Returns:
        float64 of the same shape; None for a width that the function does not allow (LINEAR asks
        for at least 1, the others for more than 0), as some exporters write a 0 for "no window".
    """
    if function == "SIGMOID" and width > 0:
        exponent = np.clip(-4 * (inputs - center) / width, -700, 700)
        return 1 / (1 + np.exp(exponent))
    if function == "LINEAR_EXACT" and width > 0:
        return np.clip((inputs - center) / width + 0.5, 0, 1)
    if function in ("SIGMOID", "LINEAR_EXACT") or width < 1:
        return None
    center, width = center - 0.5, width - 1
    if width == 0:
        return (inputs > center).astype(np.float64)
    return np.clip((inputs - center) / width + 0.5, 0, 1)


def _full_range(inputs: Floats, used: npt.NDArray[np.bool_]) -> Floats:
    """Map the values that the picture uses onto 0..1; a flat picture becomes middle grey."""
    if not used.any():
        return np.zeros_like(inputs)
    low, high = float(inputs[used].min()), float(inputs[used].max())
    if high <= low:
        return np.full_like(inputs, 0.5)
    return np.clip((inputs - low) / (high - low), 0, 1)


def _is_inverse(dataset: "Dataset") -> bool:
    """Whether low values are meant to be white.

    MONOCHROME1 and the shape INVERSE say the same thing about one picture (PS3.3 C.8.11.3.1.2),
    so either or both invert once.
    """
    shape = text(dataset, "PresentationLUTShape")
    return text(dataset, "PhotometricInterpretation") == "MONOCHROME1" or shape == "INVERSE"


def _padding(dataset: "Dataset", stored: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Which codes fill the surroundings: (0028,0120), up to (0028,0121) where that is given."""
    first = number(dataset, "PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, np.bool_)
    last = number(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    return (stored >= low) & (stored <= high)


def _present(codes: Codes, bits: int) -> npt.NDArray[np.bool_]:
    """Which codes occur in the picture: bool (2**bits,)."""
    present = np.zeros(1 << bits, np.bool_)
    for block in _blocks(codes):
        present[block] = True
    return present


def _look_up(codes: Codes, table: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    pixels = np.empty(codes.shape, np.uint16)
    for source, target in zip(_blocks(codes), _blocks(pixels), strict=True):
        target[:] = table[source]
    return pixels


def _blocks(pixels: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Views of whole rows: numpy widens an index to 64 bits, for the whole picture at once."""
    rows = max(1, _BLOCK_PIXELS // pixels.shape[1])
    return [pixels[top : top + rows] for top in range(0, pixels.shape[0], rows)]
