"""What a device keeps for its packs: a key, and what it has packed before.

```
DATA/fleet/
  device.key, device.pub   the device's own Ed25519 key: signs packs and nothing else
  packed.json              how many packs, and the fingerprints of the lines that they hold
```
"""

from dataclasses import dataclass
from pathlib import Path

from edge_app.bundle.private_key import generate_keys
from edge_app.errors import StorageError
from edge_app.files.codec import CodecError, compact_json, decode, parse_json
from edge_app.files.locks import FileLock
from edge_app.files.pseudonyms import device_pseudonyms
from edge_app.files.user_folders import data_folder
from edge_app.files.whole import make_private_folder, owner_only, unwritable, write_whole


@dataclass(frozen=True, slots=True)
class Packed:
    """`packed.json`.

    Attributes:
        sequence: of the last pack; 0 before the first.
        lines: fingerprints of all lines that were packed.
    """

    sequence: int
    lines: tuple[str, ...]


class Device:
    """The machine that packs; one process at a time, until it is closed.

    Attributes:
        private, public: files of its key.
        pseudonyms: by the device's key of them.
        packed: before now.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Open what is there, and make what is not.

        Args:
            folder: None takes the user's data folder.

        Raises:
            StorageError: it cannot be read or written, or another process packs.
        """
        self._folder = _default_folder() if folder is None else folder
        make_private_folder(self._folder)
        self._lock = FileLock(
            self._folder / "lock", "another `pneumoscope fleet pack` is at work on this device"
        )
        try:
            self.private, self.public = _signing_key(self._folder)
            self.pseudonyms = device_pseudonyms()
            self.packed = _read_packed(self._folder / "packed.json")
        except BaseException:
            self._lock.close()
            raise

    def note(self, packed: Packed) -> None:
        """Remember what a pack holds, once it lies on the stick.

        Raises:
            StorageError: it cannot be written; the next pack then holds the same lines again.
        """
        with owner_only(True):
            write_whole(self._folder / "packed.json", f"{compact_json(packed)}\n".encode())
        self.packed = packed

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.close()


def _default_folder() -> Path:
    try:
        return data_folder() / "fleet"
    except RuntimeError as error:
        raise StorageError(
            "there is no home folder for the device's key; PNEUMOSCOPE_DATA=FOLDER names one"
        ) from error


def _signing_key(folder: Path) -> tuple[Path, Path]:
    private, public = folder / "device.key", folder / "device.pub"
    if not private.is_file():
        generate_keys(folder / "device")
    return private, public


def _read_packed(path: Path) -> Packed:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Packed(0, ())
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        return decode(Packed, parse_json(content))
    except CodecError as error:
        raise StorageError(f"{path}: damaged: {error}") from error
