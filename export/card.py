"""The model card, written from the manifest's figures: nothing in it is typed by hand twice.

Mitchell M et al. Model cards for model reporting. FAT* 2019.
"""

from collections.abc import Sequence

from edge_app.bundle.manifest import (
    Figure,
    Locator,
    Manifest,
    Metric,
    ModelFile,
    OperatingPoint,
)
from export.about import About
from export.fitting import PointSpecs
from export.parity import Report, table


def model_card(
    manifest: Manifest, about: About, report: Report, points: PointSpecs, lacks: Sequence[str] = ()
) -> str:
    """The text of `model_card.md`.

    Args:
        manifest, about, report: what it is written from.
        points: what the operating points were fitted to.
        lacks: what could not be shown of a research model.
    """
    default = manifest.models[0]
    parts = [
        f"# {manifest.model_id}\n",
        f"Written {manifest.created} by `python -m export`. "
        f"Checkpoint SHA-256 `{manifest.provenance.checkpoint_sha256}`.\n",
        *_research(lacks),
        f"## Intended use\n{about.intended_use.strip()}\n",
        f"## Population\n{_population(manifest)}\n",
        f"## Limits\n{about.limits.strip()}\n",
        f"## Model files\n{_files(manifest)}\n",
        *_first_look(manifest, default),
        *_gate(manifest, default),
        f"## Operating points of `{default.file}`\n{_points(manifest, default)}\n",
        *_promised(points, lacks),
        f"## Figures of `{default.file}`\n{_figures(manifest, default)}\n",
        f"## Calibration\n{_calibration(manifest)}\n",
        f"## Parity with the trained network\n{_PARITY}\n\n{table(report)}",
        f"## Data\n{about.data.strip()}\n",
        f"## Training\n{_training(manifest)}\n",
        f"## How to cite\n{about.how_to_cite.strip()}\n",
    ]
    return "\n".join(parts)


def _research(lacks: Sequence[str]) -> list[str]:
    """The section on what a research model lacks; none for a release."""
    if not lacks:
        return []
    lines = "\n".join(f"- {text}" for text in lacks)
    return [
        "## A research model: not for decisions about patients\n"
        f"It was exported with `--research`. A release would have been refused for:\n\n{lines}\n"
    ]


def _promised(points: PointSpecs, lacks: Sequence[str]) -> list[str]:
    """What the band bounds; of a research model nothing is promised."""
    heading = "## What `indeterminate` promises\n"
    return [heading + ("Nothing: a research model.\n" if lacks else f"{promises(points)}\n")]


_PARITY = (
    "Change of the logit against Keras float32 on the same validation pictures; a decision is\n"
    "flipped where the file lies on the other side of Keras's own threshold."
)


def _population(manifest: Manifest) -> str:
    population = manifest.population
    ages = (
        ""
        if population.age_years is None
        else f" Age {population.age_years[0]:g} to {population.age_years[1]:g} years."
    )
    return (
        f"{population.description}.{ages} Views: {', '.join(population.views)}. "
        f"Sites: {'; '.join(population.sites)}."
    )


def _files(manifest: Manifest) -> str:
    rows = [
        f"| `{m.file}` | {m.format} | {m.recipe} | {manifest.files[m.file].bytes:,} "
        f"| `{m.sha256[:16]}` |"
        for m in manifest.models
    ]
    return "\n".join(
        ["| file | format | recipe | bytes | SHA-256 |", "|---|---|---|---|---|", *rows]
    )


def _first_look(manifest: Manifest, model: ModelFile) -> list[str]:
    """The section on the locator, none for a reader of whole pictures."""
    locator = manifest.locator
    if locator is None:
        return []
    files = [
        f"| `{m.file}` | {m.format} | {m.recipe} | {manifest.files[m.file].bytes:,} "
        f"| `{m.sha256[:16]}` | `{_reader_of(manifest, locator, m)}` |"
        for m in locator.models
    ]
    refused = [
        f"| {m.split.name} | {m.split.n_images}, {m.split.n_patients} | {show(m.value)} |"
        for m in manifest.metrics
        if (m.name, m.model_sha256) == ("refused", model.sha256)
    ]
    lines = [
        "## The first look: where the lungs are\n",
        "A locator looks at the whole picture and finds the lungs; the model above reads their box "
        f"with {_percent(locator.margin)} of its sides around it and nothing else of the picture. "
        "Calibration and operating points hold for each model file with its own locator file, and "
        "with no other:",
        "",
        "| file | format | recipe | bytes | SHA-256 | finds the lungs for |",
        "|---|---|---|---|---|---|",
        *files,
        "",
        *_rules(locator),
        "",
        f"Chosen on {'; '.join(locator.rules.chosen_on)}.",
        "",
        f"Refused by these rules, by the input gate, or as too small, with the files of "
        f"`{model.file}`, each patient counting once:",
        "",
        "| pictures | n, patients | share refused |",
        "|---|---|---|",
        *refused,
        "",
        "The figures below count refused pictures too, by the score that they would have had.\n",
    ]
    return ["\n".join(lines)]


def _reader_of(manifest: Manifest, locator: Locator, model: ModelFile) -> str:
    return next(m.file for m in manifest.models if locator.pairs[m.sha256] == model.sha256)


def _rules(locator: Locator) -> list[str]:
    """What is done with what the locator says, a line a rule."""
    rules = locator.rules
    return [
        "- A picture that is turned by 90, 180 or 270 degrees with a probability of "
        f"{rules.turned:g} or more is put right and flagged; of the others, one that is upright "
        f"with a probability under {rules.least_upright:g} is refused.",
        "- What is a frontal chest film with a probability under "
        f"{rules.least_frontal:g} is refused.",
        f"- Lungs whose certainty is under {rules.least_certainty:g}, whose box covers less than "
        f"{_percent(rules.least_area)} of the picture, or of which there are more than two, are "
        "not read.",
        f"- Lungs that are cut off at an edge with a probability of {rules.touches_edge:g} or more "
        f"are flagged, with {rules.cut_off:g} or more refused.",
    ]


def _gate(manifest: Manifest, model: ModelFile) -> list[str]:
    """The section on the input gate, none without one."""
    gate = manifest.input_gate
    if gate is None:
        return []
    fit = gate.fit_of(model)
    usual = [
        f"| `{name}` | {low:.3g} | {high:.3g} |" for name, (low, high) in sorted(fit.usual.items())
    ]
    lines = [
        "## The input gate: is it a film of the validated kind?\n",
        "What both looks make of a picture (the lungs' shape in their box, the frame that the "
        "reader sees, the reader's embedding) is compared with that of the training pictures. "
        f"`{model.file}`: beyond a joined distance of {fit.most_distance:g} it is refused as "
        "`unlike_validated_films`. A frame whose correlation with the mean one is under "
        f"{fit.inverted_below:g} is a negative: its greys are put right, it is looked at again, "
        "and flagged.",
        "",
        f"Fitted on {gate.fitted_on.name} ({gate.fitted_on.n_patients} patients); the limit on "
        f"{gate.chosen_on.name}, so that {_percent(gate.most_refused)} of them, whose lungs were "
        "found, are refused. Chest films alone chose every number.",
        "",
        "A picture is flagged where a measure of its quality lies outside of the range of 98% of "
        "these pictures; no answer depends on it:",
        "",
        "| measure | from | to |",
        "|---|---|---|",
        *usual,
        "",
    ]
    return ["\n".join(lines)]


def _points(manifest: Manifest, model: ModelFile) -> str:
    points = [p for p in manifest.operating_points if p.model_sha256 == model.sha256]
    lines = [
        "| name | raw score: below, threshold, from | sensitivity | specificity | purpose |",
        "|---|---|---|---|---|",
        *(_point(p, manifest.default_operating_point) for p in points),
    ]
    split = points[0].fitted_on
    note = (
        f"Fitted on {split.name}: {split.n_images} pictures of {split.n_patients} patients. Below "
        "the first number the answer is `no_pneumonia_seen`, from the last one on "
        "`pneumonia_suspected`, between them `indeterminate`. Sensitivity and specificity are "
        "those of the single threshold; each patient counts once."
    )
    return "\n".join([*lines, "", note])


def _point(point: OperatingPoint, default: str) -> str:
    name = f"**{point.name}** (default)" if point.name == default else point.name
    return (
        f"| {name} | {point.refer_low:.3f}, {point.threshold:.3f}, {point.refer_high:.3f} "
        f"| {show(point.sensitivity)} | {show(point.specificity)} | {point.purpose} |"
    )


def promises(points: PointSpecs) -> str:
    """What the band between the cut-offs bounds, and how surely: a table and its reading."""
    rows = [
        f"| {p.name} | {_percent(p.most_missed)} | {_percent(p.most_false_alarms)} "
        f"| {_percent(1 - p.delta)} |"
        for p in points.point
    ]
    note = (
        "Scores between the cut-offs are answered `indeterminate`, so that with this confidence "
        "both bounds hold, at any prevalence, for patients like those that the cut-offs were "
        "fitted on, each counting once over all forms of his pictures. Nothing is promised for "
        "another site, machine or age."
    )
    return "\n".join(
        [
            "| operating point | of those with pneumonia at most `no_pneumonia_seen` "
            "| of the others at most `pneumonia_suspected` | confidence |",
            "|---|---|---|---|",
            *rows,
            "",
            note,
        ]
    )


def _percent(share: float) -> str:
    return f"{100 * share:g}%"


def _figures(manifest: Manifest, model: ModelFile) -> str:
    mine = [m for m in manifest.metrics if m.model_sha256 == model.sha256]
    splits = list(dict.fromkeys(m.split.name for m in mine))
    point = manifest.default_operating_point
    lines = [
        f"| pictures | n (sick), patients | AUROC | sensitivity, `{point}` "
        f"| specificity, `{point}` | indeterminate |",
        "|---|---|---|---|---|---|",
    ]
    for name in splits:
        of_split = [m for m in mine if m.split.name == name]
        split = of_split[0].split
        cells = [
            _cell(of_split, "auroc", None),
            *(_cell(of_split, n, point) for n in ("sensitivity", "specificity", "indeterminate")),
        ]
        counts = f"{split.n_images} ({split.n_positive}), {split.n_patients}"
        lines.append(f"| {name} | {counts} | {' | '.join(cells)} |")
    lines += ["", "Intervals at 95%: DeLong's over patients for AUROC, Wilson's for shares."]
    return "\n".join(lines)


def _cell(found: Sequence[Metric], name: str, point: str | None) -> str:
    for metric in found:
        if (metric.name, metric.operating_point) == (name, point):
            return show(metric.value)
    return ""


def _calibration(manifest: Manifest) -> str:
    lines = [
        "probability = sigmoid(scale x raw score + offset), by model file:",
        "",
        "| file | scale | offset | ECE |",
        "|---|---|---|---|",
    ]
    for model in manifest.models:
        found = next(c for c in manifest.calibration if c.model_sha256 == model.sha256)
        lines.append(
            f"| `{model.file}` | {found.scale:.4f} | {found.offset:.4f} | {show(found.ece)} |"
        )
    pictures = [f"`{name}`" for name in manifest.files if name.endswith(".png")]
    if pictures:
        lines += ["", f"Reliability diagram: {', '.join(pictures)}."]
    return "\n".join(lines)


def _training(manifest: Manifest) -> str:
    provenance = manifest.provenance
    versions = ", ".join(f"{name} {v}" for name, v in sorted(provenance.versions.items()))
    return (
        f"Configuration `{provenance.config}`, seed {provenance.seed}, {versions}. Training "
        f"pictures: list with SHA-256 `{provenance.data_sha256[:16]}`. Licence: "
        f"{provenance.licence}. Data: {provenance.citation}"
    )


def show(figure: Figure) -> str:
    """A figure with its interval: `0.962 (0.945-0.974)`."""
    return f"{figure.value:.3f} ({figure.low:.3f}-{figure.high:.3f})"
