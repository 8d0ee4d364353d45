"""`pneumoscope fleet pack`: what is new on this device, as one signed file on a USB stick.

The pack is on the stick before the device notes what it holds: a stick that was pulled out, or a
power cut between the two, costs nothing but the same lines again in the next pack.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edge_app.bundle.load import load_bundle
from edge_app.bundle.private_key import open_signer
from edge_app.bundle.signature import key_id, read_public_key
from edge_app.device.clock import clock_trust
from edge_app.files.codec import compact_json
from edge_app.files.whole import make_private_folder, write_whole
from edge_app.fleet.answers import PackedAnswer
from edge_app.fleet.device import Device, Packed
from edge_app.fleet.pack_file import FORMAT_VERSION, SUFFIX, Pack, encode_pack
from edge_app.results.rows import utc_now
from edge_app.site.profile import SiteProfile
from edge_app.version import __version__


@dataclass(frozen=True, slots=True)
class Written:
    """What was put on the stick.

    Attributes:
        path: of the pack.
        sequence: its number.
        answers: in it.
        known: answers that earlier packs hold already.
        n_bytes: of the file.
        key_id: of the device.
    """

    path: Path
    sequence: int
    answers: int
    known: int
    n_bytes: int
    key_id: str


def write_pack(
    device: Device,
    answers: Iterable[PackedAnswer],
    stick: Path,
    profile: SiteProfile | None = None,
    bundle: Path | None = None,
    *,
    everything: bool = False,
) -> Written:
    """Write the next pack into a folder, with the device's public key beside it.

    Where nothing is new the pack holds no answer: it says that the device is alive.

    Args:
        device: whose.
        answers: all of the device's; those that an earlier pack holds as they are now are left out.
        stick: made where it is missing.
        profile: of the site.
        bundle: in use; None takes the installed one.
        everything: nothing is left out, as when a stick was lost.

    Raises:
        BundleError: the bundle in use is damaged.
        StorageError: something cannot be written; there is no half of a pack.
    """
    manifest = load_bundle(bundle).manifest
    lines = {device.pseudonyms.of("line", line): line for line in map(compact_json, answers)}
    before = frozenset(() if everything else device.packed.lines)
    # By pseudonym: the order of a day's patients would be one more thing to know them by.
    new = sorted(line for fingerprint, line in lines.items() if fingerprint not in before)
    now = utc_now()
    trust = clock_trust(now)
    sequence = device.packed.sequence + 1
    pack = Pack(
        format_version=FORMAT_VERSION,
        pneumoscope_version=__version__,
        sequence=sequence,
        packed_at=now,
        clock_is_trusted=trust.is_trusted,
        clock=trust.reason,
        model_id=manifest.model_id,
        model_created=manifest.created,
        profile=profile,
        answers=0,
        body_bytes=0,
        body_sha256="",
        lines_bytes=0,
    )
    content = encode_pack(pack, new, open_signer(device.private, device.public))
    path = _put(device, content, sequence, stick)
    device.note(Packed(sequence, tuple(sorted({*device.packed.lines, *lines}))))
    return Written(
        path=path,
        sequence=sequence,
        answers=len(new),
        known=len(lines) - len(new),
        n_bytes=len(content),
        key_id=key_id(read_public_key(device.public)),
    )


def _put(device: Device, content: bytes, sequence: int, stick: Path) -> Path:
    identifier = key_id(read_public_key(device.public))
    make_private_folder(stick)
    path = stick / f"{identifier}-{sequence:06d}{SUFFIX}"
    write_whole(path, content)
    public = stick / f"{identifier}.pub"
    if not public.exists():
        write_whole(public, device.public.read_bytes())
    return path
