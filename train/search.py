"""The best small network: sizes of one configuration, trained alike, AUROC against multiply-adds.

A configuration and lists of input sizes, widths, depths and stages enter; variants leave, each a
run of its own. `compare` puts finished runs into a table and a curve; it takes any runs that held
out the same pictures.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_app import metrics
from edge_app.intervals import Figure
from train.config import Config, ConfigError
from train.folds import read_held_out
from train.plots import figure
from train.record import identity_of, read_record
from train.tables import markdown_table, short


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
    """AUROC with its interval against multiply-adds."""
    with figure(path, 1, 1, height=4.2) as (axes,):
        for label, points in (
            ("held-out pictures", [(e.multiply_adds, e.auroc) for e in entries]),
            ("the same, degraded", [(e.multiply_adds, e.auroc_degraded) for e in entries]),
        ):
            known = [(count / 1e6, found) for count, found in points if found is not None]
            if not known:
                continue
            millions, figures = zip(*known, strict=True)
            spread = [[f.value - f.low for f in figures], [f.high - f.value for f in figures]]
            values = [f.value for f in figures]
            axes.errorbar(millions, values, yerr=spread, fmt="o-", capsize=3, label=label)
        for entry in entries:
            lowest = (entry.auroc_degraded or entry.auroc).low
            place = (entry.multiply_adds / 1e6, lowest)
            axes.annotate(entry.name, place, rotation=90, fontsize=7, va="top")
        axes.set_xscale("log")
        axes.set_xlabel("multiply-adds of one picture (million)")
        axes.set_ylabel("AUROC (95% interval)")
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
