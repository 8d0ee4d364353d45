"""Pictures whose lungs somebody has outlined, as a reader in training sees them.

Samples and outlines enter; random views with their targets, and the frame of a picture as it is,
leave.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from edge_app.images.labelled_pictures import LabelledPicture
from train.cache import Cache
from train.config import Config
from train.outlines import MASK_SIDE, Outlines, read_mask
from train.reader_views import Lungs, Picture, ReadSpec, framed, random_lungs


class KnownLungs:
    """Where the lungs of labelled pictures are.

    Args:
        config: with the tables `read` and `degrade`.
        samples: pictures whose outline stands in `outlines`.
        outlines: theirs, and films of other sites, whose style is borrowed.
        cache: holds all of them.
    """

    def __init__(
        self, config: Config, samples: Sequence[LabelledPicture], outlines: Outlines, cache: Cache
    ) -> None:
        assert config.read is not None
        assert config.degrade is not None
        self._config, self._spec, self._degrade = config, config.read, config.degrade
        self._cache, self._samples = cache, tuple(samples)
        self._styles = [
            other.path
            for other in outlines.used("train")
            if other.view == "frontal" and other.mask is None
        ]
        rows = [outlines.by_name[sample.name] for sample in samples]
        with ThreadPoolExecutor() as pool:
            masks = list(pool.map(lambda row: row.mask and np.packbits(read_mask(row.mask)), rows))
        self._masks = {row.name: mask for row, mask in zip(rows, masks, strict=True)}
        self._boxes = {row.name: row.box for row in rows}

    def view(
        self, pixels: Picture, sample: LabelledPicture, rng: np.random.Generator
    ) -> tuple[Picture, float]:
        """A random view of one copy of a picture, and its target (train.reader_views)."""
        return self._random(pixels, sample, self._spec, rng)

    def judged_view(
        self, pixels: Picture, sample: LabelledPicture, rng: np.random.Generator
    ) -> Picture:
        """A random view that leaves what is in the lungs, and so the label, as it is."""
        kept = replace(self._spec, p_painted=0.0, p_opacity=0.0)
        return self._random(pixels, sample, kept, rng)[0]

    def frame(self, sample: LabelledPicture) -> Picture:
        """The picture as the reader is given it, by the outline's box: (1, height, width, 1)."""
        box = self._boxes[sample.name]
        assert box is not None
        pixels = self._cache.read(sample.path)
        return framed(pixels, box, self._spec.margin, self._config.preprocess)

    def _random(
        self, pixels: Picture, sample: LabelledPicture, spec: ReadSpec, rng: np.random.Generator
    ) -> tuple[Picture, float]:
        stranger = self._samples[int(rng.integers(len(self._samples)))]
        style = None
        if self._styles:
            style = self._cache.read(self._styles[int(rng.integers(len(self._styles)))])
        mine, theirs = self._lungs(pixels, sample), self._lungs(None, stranger)
        return random_lungs(mine, sample.label, theirs, style, spec, self._degrade, rng)

    def _lungs(self, pixels: Picture | None, sample: LabelledPicture) -> Lungs:
        packed, box = self._masks[sample.name], self._boxes[sample.name]
        assert box is not None
        if pixels is None:
            pixels = self._cache.read(sample.path)
        mask = None
        if packed is not None:
            mask = np.unpackbits(packed).reshape(MASK_SIDE, MASK_SIDE).astype(bool)
        return Lungs(pixels, box, mask)
