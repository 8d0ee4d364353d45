"""Pictures that a checkpoint is judged on besides its own data: named, unseen, readable.

Folders and samples enter. What would spoil an evaluation (a patient or a picture that was trained
on, a file that cannot be read, two results of one name) is an error before any network is loaded.
No Keras here.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edge_app.errors import DataError, InputError, UnreadableImageError
from edge_app.images.labelled_pictures import LabelledPicture
from edge_app.images.read import read_image
from edge_app.progress import track
from train.record import file_sha256

_SHOWN = 3


def distinct_names(folders: Sequence[Path]) -> dict[str, Path]:
    """Each folder by the end of its path: two parts, or as many as tell them all apart.

    Two, since many folders are called `train`.

    Raises:
        DataError: a folder stands twice.
    """
    parts = [folder.resolve().parts for folder in folders]
    twice = [folder for folder, count in Counter(parts).items() if count > 1]
    if twice:
        raise DataError(f"{Path(*twice[0])} is named twice: one of the results would be lost")
    length = 2
    while len({path[-length:] for path in parts}) < len(parts):
        length += 1
    names = ["/".join(path[-length:]) for path in parts]
    return dict(zip(names, folders, strict=True))


def check_unseen(
    external: Mapping[str, Sequence[LabelledPicture]], training: Sequence[LabelledPicture]
) -> None:
    """Raises DataError where an external set holds patients or files that were trained on."""
    patients = {sample.patient_id for sample in training if _is_told(sample)}
    trained = [path for s in training for path in (s.path, s.larger) if path is not None]
    same_file = _file_finder(trained)
    for name, samples in external.items():
        shared = sorted({s.patient_id for s in samples if _is_told(s)} & patients)
        if shared:
            raise DataError(
                f"{name}: {len(shared)} of its patients were trained on, such as "
                f"{', '.join(shared[:_SHOWN])}; if they are other people of the same number, give "
                "a CSV whose patient_id carries the site as a prefix"
            )
        found = [(s.path, twin) for s in samples if (twin := same_file(s.path)) is not None]
        if found:
            raise DataError(
                f"{name}: {len(found)} of its pictures were trained on, such as {found[0][0]}, "
                f"the same file as {found[0][1]}"
            )


def check_judgeable(external: Mapping[str, Sequence[LabelledPicture]]) -> None:
    """Raises DataError where a set is too small for an AUROC with its interval."""
    for name, samples in external.items():
        for label, label_name in enumerate(("normal", "pneumonia")):
            patients = {s.patient_id for s in samples if s.label == label}
            if len(patients) < 2:
                raise DataError(
                    f"{name}: {len(patients)} patients of class {label_name}; an AUROC with an "
                    "interval needs two of each"
                )


def check_readable(paths: Iterable[Path]) -> None:
    """Decode every file once; raises UnreadableImageError naming those that cannot be read."""
    chosen = sorted(set(paths))
    with ThreadPoolExecutor() as pool:
        results = list(track(pool.map(_why_unreadable, chosen), "check", len(chosen)))
    failed = [error for error in results if error is not None]
    if failed:
        shown = "; ".join(str(error) for error in failed[:_SHOWN])
        raise UnreadableImageError(f"{len(failed)} of {len(chosen)} cannot be read: {shown}")


def _why_unreadable(path: Path) -> InputError | None:
    try:
        read_image(path)
    except InputError as error:
        return error
    return None


def _is_told(sample: LabelledPicture) -> bool:
    """Whether somebody said who the patient is: a file's own name says nothing about that."""
    return sample.patient_id not in (sample.name, sample.path.name, sample.path.stem)


def _file_finder(paths: Sequence[Path]) -> Callable[[Path], Path | None]:
    """A function that gives one of `paths` whose bytes equal those of a file, or None."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        by_size[path.stat().st_size].append(path)
    by_content: dict[int, dict[str, Path]] = {}

    def find(path: Path) -> Path | None:
        size = path.stat().st_size
        # Only files of equal size can be equal, so few are read at all.
        if size not in by_size:
            return None
        if size not in by_content:
            by_content[size] = {file_sha256(candidate): candidate for candidate in by_size[size]}
        return by_content[size].get(file_sha256(path))

    return find
