"""The blocks of an EfficientNet-Lite as numbers, and whether ImageNet weights fill them.

A `NetworkSpec` enters; its inverted residuals leave, in order. No Keras here, so that a network
that is larger than the published one is refused when a run is planned.
"""

import math
from dataclasses import dataclass, replace

from train.config import NetworkSpec
from train.torch_state import WeightsError

# (repeats, kernel size, stride, expansion, channels): EfficientNet-B0's stages.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM_CHANNELS = 32
_HEAD_CHANNELS = 1280
# (width multiplier, depth multiplier) of the published variants.
_VARIANTS = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}


@dataclass(frozen=True, slots=True)
class Block:
    """One inverted residual.

    Attributes:
        stage, repeat: its place in EfficientNet-B0's table, which depth scaling keeps.
        kernel, stride, expansion: of the block.
        channels_in, channels_out: after width scaling.
    """

    stage: int
    repeat: int
    kernel: int
    stride: int
    expansion: int
    channels_in: int
    channels_out: int

    @property
    def hidden(self) -> int:
        """Channels between the 1x1 convolutions."""
        return self.channels_in * self.expansion


def lite0(size: int, dropout: float = 0.2) -> NetworkSpec:
    """EfficientNet-Lite0 for a square input of `size` pixels."""
    return NetworkSpec(
        size, size, 1.0, 1.0, _HEAD_CHANNELS, _STEM_CHANNELS, dropout, stages=len(_STAGES)
    )


def round_channels(channels: float, divisor: int = 8) -> int:
    """Nearest multiple of `divisor` that does not lose more than a tenth (the reference's rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def block_plan(spec: NetworkSpec) -> tuple[Block, ...]:
    """The blocks between stem and head, in order."""
    blocks = []
    incoming = spec.stem_channels
    last = len(_STAGES) - 1
    for stage, (repeats, kernel, stride, expansion, base) in enumerate(_STAGES[: spec.stages]):
        channels = round_channels(base * spec.width_multiplier)
        # The Lite variants scale neither the first nor the last stage's depth.
        if stage not in (0, last):
            repeats = math.ceil(repeats * spec.depth_multiplier)
        for repeat in range(repeats):
            step = stride if repeat == 0 else 1
            blocks.append(Block(stage, repeat, kernel, step, expansion, incoming, channels))
            incoming = channels
    return tuple(blocks)


def variant_spec(variant: str) -> NetworkSpec:
    """Width and depth of a published variant; its input size is ours."""
    width, depth = _VARIANTS[variant]
    return replace(lite0(224), width_multiplier=width, depth_multiplier=depth)


def check_fits(spec: NetworkSpec, variant: str) -> None:
    """Raises WeightsError where the network is wider or deeper than the ImageNet weights."""
    published = variant_spec(variant)
    places = {(block.stage, block.repeat): block for block in block_plan(published)}
    _check_width("stem", spec.stem_channels, published.stem_channels, variant)
    for block in block_plan(spec):
        where = f"stage {block.stage}"
        place = places.get((block.stage, block.repeat))
        if place is None:
            raise WeightsError(f"{where} is deeper than in {variant}: lower depth_multiplier")
        _check_width(where, block.hidden, place.hidden, variant)
        _check_width(where, block.channels_out, place.channels_out, variant)
    # With fewer stages the head is fresh, so it may have any width.
    if spec.stages == published.stages:
        _check_width("head", spec.head_channels, published.head_channels, variant)


def _check_width(where: str, channels: int, published: int, variant: str) -> None:
    if channels > published:
        raise WeightsError(
            f"{where}: {channels} channels, the ImageNet weights of {variant} have {published}"
        )
