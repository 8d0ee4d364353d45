"""What our own answers call their maker, so that they are known when a PACS sends them back."""

MANUFACTURER = "The Pneumoscope developers"
MODEL_NAME = "Pneumoscope"  # (0008,1090) Manufacturer's Model Name

# Secondary Capture and Comprehensive SR (PS3.4 table B.5-1): the classes of our answers.
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"


def is_own_answer(data: bytes) -> bool:
    """Whether the bytes of a file are an answer of ours, which is never scored."""
    # Films do not hold the word: only what does is parsed.
    if data[128:132] != b"DICM" or MODEL_NAME.encode("ascii") not in data:
        return False
    from edge_app.errors import InputError
    from edge_app.images.dicom_elements import free_text, parse, quiet, text

    with quiet():
        try:
            dataset = parse(data)
        except InputError:
            return False
        return (
            text(dataset, "SOPClassUID") in (SECONDARY_CAPTURE, COMPREHENSIVE_SR)
            and free_text(dataset, "ManufacturerModelName") == MODEL_NAME.upper()
            and free_text(dataset, "Manufacturer") == MANUFACTURER.upper()
        )
