"""The probe and the evaluation find shortcuts that were built in, and nothing where there is none.

The networks here are functions of the pixels, so what they follow is known.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_app.errors import DataError
from edge_app.images.labelled_pictures import LabelledPicture, find_copies
from edge_app.images.phantom import Phantom, draw_phantom
from tests.train_inputs import tiny_config
from train.counterfactuals import CHANGES
from train.evaluate import Evaluation, evaluate
from train.evaluate import in_words as evaluation_in_words
from train.probe import Correlation, Counterfactual, Probe, draw, in_words, probe
from train.quantities import sharpness
from train.samples import read_samples


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.decision._RESAMPLES", 50)


class FunctionScorer:
    """A `Scorer` whose logit is a function of the pixels."""

    mirror = False

    def __init__(self, function: Callable[[np.ndarray], float]) -> None:
        self._function = function
        # Decoded in full, as for the counterfactuals, so that both see the same pixels.
        config = tiny_config(degrade=None, preprocess__jpeg_draft_ratio=0)
        self.checkpoints = [SimpleNamespace(config=config, sha256="0" * 64)]

    def outputs(self, items: Sequence[Any], read: Callable[..., np.ndarray]) -> dict[str, Any]:
        spec = self.checkpoints[0].config.preprocess
        return {"logit": np.array([self._function(read(item, spec)) for item in items])}

    def logits(self, items: Sequence[Any], read: Callable[..., np.ndarray]) -> np.ndarray:
        return self.outputs(items, read)["logit"]


def _opacity(pixels: np.ndarray) -> float:
    """Follows the lungs: grey of the right lung's middle against the left one's."""
    height, width = pixels.shape
    rows = slice(int(0.35 * height), int(0.6 * height))
    right = pixels[rows, int(0.22 * width) : int(0.38 * width)].mean()
    left = pixels[rows, int(0.62 * width) : int(0.78 * width)].mean()
    return float(right - left) / 4


def _shortcut(pixels: np.ndarray) -> float:
    """Follows the file: sharpness, and nothing else."""
    return 10 - sharpness(pixels)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledPicture]:
    """60 phantoms, compressed so variously that sharpness varies within each class."""
    root = tmp_path_factory.mktemp("probe")
    rng = np.random.default_rng(3)
    for label, name in enumerate(("NORMAL", "PNEUMONIA")):
        (root / name).mkdir()
        for patient in range(30):
            phantom = Phantom(seed=patient + 100 * label, opacity=float(label))
            height, width = rng.integers(90, 150, 2).tolist()
            image = Image.fromarray(draw_phantom(phantom, height, width))
            image.save(root / name / f"{name}{patient}.jpeg", quality=int(rng.integers(30, 95)))
    # The parts of the cross-fit follow from these names. The shortcut's score hardly rises with the
    # labels, and in some other division of 60 pictures it does not at all.
    return [replace(sample, patient_id=sample.path.stem) for sample in read_samples(root)]


@pytest.fixture(scope="module")
def of_shortcut(samples: list[LabelledPicture]) -> Probe:
    return probe(FunctionScorer(_shortcut), samples)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def of_lungs(samples: list[LabelledPicture]) -> Probe:
    return probe(FunctionScorer(_opacity), samples)  # type: ignore[arg-type]


def _correlation(findings: Probe, label: str, quantity: str) -> Correlation:
    (found,) = (c for c in findings.correlations if (c.label, c.quantity) == (label, quantity))
    return found


def _change(findings: Probe, change: str, label: str = "all") -> Counterfactual:
    (found,) = (c for c in findings.counterfactuals if (c.change, c.label) == (change, label))
    return found


def test_a_score_that_follows_sharpness_is_caught(of_shortcut: Probe) -> None:
    for label in ("normal", "pneumonia"):
        assert _correlation(of_shortcut, label, "sharpness").rho.value == pytest.approx(-1)
        assert _correlation(of_shortcut, label, "bytes_per_pixel").rho.value < -0.3
    assert _change(of_shortcut, "blurred").mean_change > 1
    assert _change(of_shortcut, "sharpened").mean_change < -1
    assert _change(of_shortcut, "blurred").flips.value > 0.2
    assert _change(of_shortcut, "blurred").to_normal == 0


def test_a_score_that_follows_the_lungs_is_acquitted(of_lungs: Probe) -> None:
    for label in ("normal", "pneumonia"):
        for quantity in ("sharpness", "bytes_per_pixel", "pixel_count", "aspect_ratio"):
            rho = _correlation(of_lungs, label, quantity).rho
            assert rho.low < 0.1
            assert rho.high > -0.1
    for change in CHANGES:
        assert _change(of_lungs, change).flips.value <= 0.05


def test_counterfactuals_count_by_class(of_shortcut: Probe) -> None:
    for change in CHANGES:
        every, normal, sick = (
            _change(of_shortcut, change, label) for label in ("all", "normal", "pneumonia")
        )
        assert (normal.n_images, sick.n_images, every.n_images) == (30, 30, 60)
        assert every.mean_change == pytest.approx((normal.mean_change + sick.mean_change) / 2)
        flipped = every.to_pneumonia + every.to_normal
        assert every.flips.value == pytest.approx(flipped / 60)
        assert normal.to_pneumonia + sick.to_pneumonia == every.to_pneumonia


def test_the_report(of_shortcut: Probe, tmp_path: Path) -> None:
    text = in_words(of_shortcut)
    for change in CHANGES:
        assert change in text
    draw(of_shortcut, tmp_path / "probe.png")
    with Image.open(tmp_path / "probe.png") as image:
        assert image.format == "PNG"
        assert image.width > 800


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_gives_a_picture_and_repeats(name: str) -> None:
    pixels = draw_phantom(Phantom(seed=2), 100, 140)
    before = pixels.copy()
    changed = CHANGES[name](pixels)
    assert changed.dtype == np.uint8
    assert changed.ndim == 2
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(changed, CHANGES[name](pixels))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("half resolution", (50, 70)),
        ("double resolution", (200, 280)),
        ("20% wider", (100, 168)),
        ("20% taller", (120, 140)),
        ("borders cropped by 5%", (90, 126)),
        ("black borders of 5% added", (110, 154)),
    ],
)
def test_changes_of_shape(name: str, shape: tuple[int, int]) -> None:
    assert CHANGES[name](draw_phantom(Phantom(seed=2), 100, 140)).shape == shape


def test_changes_of_grey() -> None:
    pixels = np.array([[0, 64, 128, 255]], np.uint8)
    # 255 * (64 / 255) ** 0.75 = 90.4; 255 * (128 / 255) ** 1.33 = 101.98
    np.testing.assert_array_equal(
        CHANGES["brighter (gamma 0.75)"](pixels)[0, [0, 1, 3]], [0, 90, 255]
    )
    assert CHANGES["darker (gamma 1.33)"](pixels)[0, 2] == 102
    framed = CHANGES["white borders of 5% added"](np.zeros((40, 40), np.uint8))
    assert framed.sum() == 255 * (44 * 44 - 40 * 40)


def _evaluate(
    function: Callable[[np.ndarray], float], samples: list[LabelledPicture], copies: dict[str, Path]
) -> Evaluation:
    scorer = FunctionScorer(function)
    held, trained = samples[::2], samples[1::2]
    named = {"copies": copies} if copies else {}
    external = {"elsewhere": trained}
    return evaluate(scorer, held, trained, named, external)  # type: ignore[arg-type]


def test_evaluation_of_a_good_score(samples: list[LabelledPicture]) -> None:
    evaluation = _evaluate(_opacity, samples, {})
    clean, elsewhere = evaluation.performances
    assert clean.auroc.value > 0.95
    assert (clean.n_images, clean.n_positive, clean.n_patients) == (30, 15, 30)
    assert min(clean.sensitivity.value, clean.specificity.value) > 0.8
    assert elsewhere.pictures == "elsewhere"
    assert "fitted on the other patients" in clean.operating_point
    assert "fitted on the validation pictures" in elsewhere.operating_point
    assert evaluation.subtype is None
    assert "| elsewhere" in evaluation_in_words(evaluation)


def test_clean_figures_are_never_called_degraded(samples: list[LabelledPicture]) -> None:
    """The checkpoint trains on clean pictures, so nothing says how to degrade, unless lent."""
    evaluation = _evaluate(_opacity, samples, {})
    assert [p.pictures for p in evaluation.performances] == ["validation", "elsewhere"]
    assert "clean copies alone" in evaluation.performances[0].operating_point
    assert "clean copies alone" in evaluation.performances[1].operating_point
    assert "not degraded" in evaluation_in_words(evaluation)
    scorer = FunctionScorer(_opacity)
    degradation = tiny_config().degrade
    lent = evaluate(scorer, samples, [], {}, {}, degradation)  # type: ignore[arg-type]
    assert [p.pictures for p in lent.performances] == [
        "validation",
        "validation, degraded",
        "validation, point from clean copies",
    ]
    assert lent.performances[0].auroc != lent.performances[1].auroc
    assert "not degraded" not in evaluation_in_words(lent)


def test_skew_between_copies(samples: list[LabelledPicture], tmp_path: Path) -> None:
    """Copies that are blurred lift a score that follows sharpness, and not one that does not."""
    for sample in samples:
        path = tmp_path / sample.path.parent.name / sample.path.name
        path.parent.mkdir(exist_ok=True)
        with Image.open(sample.path) as image:
            image.resize((40, 40)).resize(image.size).save(path, quality=90)
    copies = find_copies(tmp_path, samples)
    assert len(copies) == len(samples)
    follows_file = _evaluate(_shortcut, samples, copies).skews
    follows_lungs = _evaluate(_opacity, samples, copies).skews
    assert [skew.trained_on for skew in follows_file] == [False, True]
    assert [skew.n_images for skew in follows_file] == [30, 30]
    assert follows_file[0].mean_change > 1
    assert follows_file[0].flips.value > 0.2
    assert abs(follows_lungs[0].mean_change) < 0.3
    assert follows_lungs[0].flips.value <= 0.05


def test_copies_of_something_else(samples: list[LabelledPicture], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds none of the pictures again"):
        find_copies(tmp_path, samples)
    # The pictures themselves are no other copies.
    with pytest.raises(DataError, match="holds none of the pictures again"):
        find_copies(samples[0].path.parent.parent, samples)
