"""`heatmaps`: whether the maps of where a score comes from are right."""

import argparse
import re
from pathlib import Path

from edge_app.cli.model_options import positive
from edge_app.errors import EXIT_OK, UsageError
from train.cli.options import Commands, add_command

_BLOCK = re.compile(r"(<!-- heatmaps -->\n).*?(<!-- /heatmaps -->)", re.DOTALL)


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    text = "test heatmaps against drawn opacities, people's outlines, deletion, Grad-CAM"
    parser = add_command(commands, "heatmaps", run, text)
    parser.add_argument("--bundle", type=Path, help="default: the one that ships")
    parser.add_argument("--healthy", type=Path, required=True, help="films without a finding")
    parser.add_argument(
        "--masks", type=Path, required=True, help="outlines of their lungs, PNG by the films' stems"
    )
    parser.add_argument(
        "--lesions", type=Path, required=True, help="labels.csv with image, finding and mask"
    )
    parser.add_argument("--sick", type=Path, required=True, help="films with pneumonia")
    parser.add_argument("--checkpoint", type=Path, help="of the bundle's reader, for Grad-CAM")
    parser.add_argument(
        "--sample", type=positive, default=20, help="healthy films with Grad-CAM (%(default)d)"
    )
    parser.add_argument(
        "--into", type=Path, metavar="FILE.md", help="put the tables between its heatmaps marks"
    )


def run(options: argparse.Namespace) -> int:
    """Print the tables, or put them into a document."""
    from edge_app.bundle.load import load_bundle
    from edge_app.files.whole import write_whole
    from edge_app.screening.screener import Screener
    from train.checkpoint import read_checkpoint
    from train.heat_maps import GradCam
    from train.heat_probe import in_words, probe_heatmaps

    screener = Screener(load_bundle(options.bundle))
    grad_cam = GradCam(read_checkpoint(options.checkpoint)) if options.checkpoint else None
    findings = probe_heatmaps(
        screener,
        options.healthy,
        options.masks,
        options.lesions,
        options.sick,
        grad_cam,
        options.sample,
    )
    model = f"{screener.bundle.manifest.model_id}, {screener.runtime.name}"
    text = f"{model}\n\n{in_words(findings)}\n"
    if options.into is None:
        print(text, end="")
        return EXIT_OK
    document = options.into.read_text(encoding="utf-8")
    filled, count = _BLOCK.subn(lambda match: match[1] + text + match[2], document)
    if count != 1:
        raise UsageError(
            f"{options.into}: has no <!-- heatmaps --> and <!-- /heatmaps --> to put it between"
        )
    write_whole(options.into, [filled])
    return EXIT_OK
