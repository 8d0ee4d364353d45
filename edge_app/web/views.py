"""What is shown of a picture, kept beside the record and made again where it is missing.

A study's picture enters; its drawing and its small picture with the activation map leave. Nothing
here is a record: it may be deleted, and what has no picture in the record any more is.
"""

import base64
import threading
from pathlib import Path

from edge_app.errors import NotInRecordError, StorageError
from edge_app.files.codec import CodecError, compact_json, decode, parse_json
from edge_app.files.whole import make_folder, write_whole
from edge_app.record.pictures import Pictures
from edge_app.record.studies import Study
from edge_app.report.thumbnail import Thumbnail
from edge_app.results.rows import decode_row
from edge_app.web.drawing import draw_apart

# Decoding holds up to 120 MB a picture.
_MOST_AT_ONCE = 1


class Views:
    """Drawings in a folder."""

    def __init__(self, folder: Path, pictures: Pictures) -> None:
        """Make the folder, and delete what belongs to no picture.

        Raises:
            StorageError: it cannot be written.
        """
        make_folder(folder)
        self._folder = folder
        self._pictures = pictures
        self._turn = threading.Semaphore(_MOST_AT_ONCE)
        self._prune()

    def keep_thumbnail(self, study: Study, thumbnail: Thumbnail) -> None:
        """Keep the small picture that scoring has drawn.

        Raises:
            StorageError: it cannot be written.
        """
        write_whole(self._thumbnail_path(study), compact_json(thumbnail).encode("utf-8"))

    def thumbnail(self, study: Study) -> Thumbnail | None:
        """The small picture; None where there is none."""
        try:
            return decode(Thumbnail, parse_json(self._thumbnail_path(study).read_bytes()))
        except (OSError, CodecError):
            return None

    def small_jpeg(self, study: Study) -> bytes | None:
        """The small picture's bytes; None where there is none."""
        thumbnail = self.thumbnail(study)
        return None if thumbnail is None else base64.b64decode(thumbnail.jpeg)

    def drawing(self, study: Study) -> Path:
        """The large one; drawn where it is missing.

        Raises:
            NotInRecordError: the picture is gone.
            UnreadableImageError: it cannot be drawn.
        """
        picture = self._pictures.path(study.picture_sha256)
        turns = quarter_turns(study)
        path = self._folder / f"{study.picture_sha256}-{turns}.jpg"
        if not path.is_file():
            with self._turn:
                if not path.is_file():
                    draw_apart(picture, path, turns)
        return path

    def _thumbnail_path(self, study: Study) -> Path:
        return self._folder / f"{study.picture_sha256}-{study.model_sha256[:16]}.json"

    def _prune(self) -> None:
        try:
            for path in self._folder.iterdir():
                if not self._is_wanted(path.name.partition("-")[0]):
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{self._folder}: {error.strerror or error}") from error

    def _is_wanted(self, sha256: str) -> bool:
        try:
            return self._pictures.path(sha256).is_file()
        except NotInRecordError:
            return False


def quarter_turns(study: Study) -> int:
    """How the picture's file lies; see `LungPlace`."""
    lungs = decode_row(study.row.encode("utf-8")).lungs
    return 0 if lungs is None else lungs.quarter_turns
