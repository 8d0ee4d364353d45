"""What goes home with the patient: a slip's QR code, which the record can check later.

A study's identifier and the audit log's head enter; an SVG leaves. The text is
`PNEUMOSCOPE <identifier> <head>`: no address, so that no phone goes anywhere.
"""

import io

import segno

from edge_app.record.head import Head


def slip_text(study_id: str, head: Head) -> str:
    """What the QR code says."""
    return f"PNEUMOSCOPE {study_id} {head}"


def slip_qr(study_id: str, head: Head) -> str:
    """The QR code as inline SVG: level M, of which a crease takes 15 per cent."""
    stream = io.BytesIO()
    code = segno.make(slip_text(study_id, head), error="m", micro=False)
    code.save(stream, kind="svg", xmldecl=False, svgns=False, omitsize=True, border=2, title="QR")
    return stream.getvalue().decode("ascii")
