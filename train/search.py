"""The best small network: sizes of one configuration, trained alike, AUROC against multiply-adds.

A configuration and lists of input sizes, widths, depths and stages enter; variants leave, each a
run of its own. `compare` puts finished runs into a table and a curve; it takes any runs that held
out the same pictures.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_app.statistics import discrimination as metrics
from edge_app.statistics.intervals import Figure
from train.config import Config, ConfigError
from train.folds import read_held_out
from train.plots import figure
from train.record import identity_of, read_record
from train.tables import markdown_table, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Sizes:
    """What to vary; each combination is a variant. An empty list keeps the configuration's."""

    sizes: tuple[int, ...] = ()
    widths: tuple[float, ...] = ()
    depths: tuple[float, ...] = ()
    stages: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One finished run in the comparison.

    Attributes:
        name: of the run's folder.
        multiply_adds, parameters: of its network.
        auroc: on its held-out pictures as they are.
        auroc_degraded: on the same pictures, degraded; None where its configuration does not.
    """

    name: str
    multiply_adds: int
    parameters: int
    auroc: Figure
    auroc_degraded: Figure | None


def variants(config: Config, sizes: Sizes) -> list[Config]:
    """The configuration in every combination of sizes, named by what varies.

    Raises:
        ConfigError: the configuration is not an EfficientNet-Lite, or a size is impossible.
    """
    network = config.network
    if network is None:
        raise ConfigError(f"{config.name}: only EfficientNet-Lite networks have sizes to search")
    combinations = itertools.product(
        sizes.sizes or (network.height,),
        sizes.widths or (network.width_multiplier,),
        sizes.depths or (network.depth_multiplier,),
        sizes.stages or (network.stages,),
    )
    found = []
    for side, width, depth, stages in combinations:
        name = f"{config.name}-{side}px-w{width:g}-d{depth:g}-s{stages}"
        try:
            changed = replace(
                config,
                name=name,
                network=replace(
                    network,
                    height=side,
                    width=side,
                    width_multiplier=width,
                    depth_multiplier=depth,
                    stages=stages,
                ),
                preprocess=replace(config.preprocess, height=side, width=side),
            )
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from error
        found.append(changed)
    return found


def compare(runs: Sequence[Path]) -> list[Entry]:
    """Finished runs by rising multiply-adds.

    Raises:
        ConfigError: a run is not finished, or they held out different pictures.
    """
    entries, held_out = [], set()
    for run in runs:
        record = read_record(run)
        if record is None or not record.get("finished"):
            raise ConfigError(f"{run}: no finished run")
        missing = {"validation_sha256", "multiply_adds", "parameters"} - set(record)
        if missing:
            raise ConfigError(f"{run}: its record lacks {', '.join(sorted(missing))}")
        held_out.add(record["validation_sha256"])
        held = read_held_out(run)
        entries.append(
            Entry(
                name=run.name,
                multiply_adds=record["multiply_adds"],
                parameters=record["parameters"],
                auroc=metrics.auroc_delong(held.labels, held.logits, groups=held.patients),
                auroc_degraded=(
                    metrics.auroc_delong(held.labels, held.degraded, groups=held.patients)
                    if held.degraded is not None
                    else None
                ),
            )
        )
    if len(held_out) > 1:
        raise ConfigError("the runs held out different pictures, so their figures do not compare")
    return sorted(entries, key=lambda entry: entry.multiply_adds)


def degraded_alike(runs: Sequence[Path]) -> bool:
    """Whether those of the runs that degrade at all do so by one specification."""
    records = [(run, read_record(run)) for run in runs]
    specs = [identity_of(record, run).config.degrade for run, record in records if record]
    return len({spec for spec in specs if spec is not None}) < 2


def in_words(entries: Sequence[Entry]) -> str:
    """The comparison as a Markdown table."""
    header = ("run", "multiply-adds (million)", "parameters (million)", "AUROC", "AUROC, degraded")
    rows = [
        (
            entry.name,
            f"{entry.multiply_adds / 1e6:.1f}",
            f"{entry.parameters / 1e6:.2f}",
            short(entry.auroc),
            short(entry.auroc_degraded) if entry.auroc_degraded else "not degraded",
        )
        for entry in entries
    ]
    return markdown_table(header, rows)


def draw(entries: Sequence[Entry], path: Path) -> None:
    """AUROC with its interval against multiply-adds; the runs are numbered and named beside it.

    Args:
        entries: as `compare` gives them.
        path: of the PNG.
    """
    from matplotlib.ticker import MaxNLocator

    with figure(path, 1, 1, height=4.2) as (axes,):
        # Side by side, since one interval over the other can't be read.
        for label, shift, figures in (
            ("held-out pictures", 0.99, [entry.auroc for entry in entries]),
            ("the same, degraded", 1.01, [entry.auroc_degraded for entry in entries]),
        ):
            known = [(e, f) for e, f in zip(entries, figures, strict=True) if f is not None]
            if not known:
                continue
            millions = [shift * entry.multiply_adds / 1e6 for entry, _ in known]
            values = [found.value for _, found in known]
            spread = [
                [found.value - found.low for _, found in known],
                [found.high - found.value for _, found in known],
            ]
            axes.errorbar(millions, values, yerr=spread, fmt="o", capsize=3, label=label)
        _name_runs(entries, axes)
        axes.set_xscale("log")
        # Tens alone would leave a curve of one decade without a number.
        axes.xaxis.set_major_locator(MaxNLocator(8))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_xlabel("multiply-adds of one picture (million)")
        axes.set_ylabel("AUROC (95% interval)")
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right", fontsize=8)


def _name_runs(entries: Sequence[Entry], axes: "Axes") -> None:
    """Numbers over the points, in two rows, and names by number beside the axes."""
    for number, entry in enumerate(entries, 1):
        place = (entry.multiply_adds / 1e6, 1.01 if number % 2 else 1.05)
        over = axes.get_xaxis_transform()
        axes.annotate(str(number), place, xycoords=over, ha="center", va="bottom", fontsize=8)
    names = "\n".join(f"{number} {entry.name}" for number, entry in enumerate(entries, 1))
    axes.annotate(names, (1.02, 1), xycoords="axes fraction", va="top", fontsize=8)
