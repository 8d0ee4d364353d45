"""The first line of a run's results: what scored, and how."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edge_app.results.rows import FORMAT_VERSION, CutOffs, RunHeader, utc_now
from edge_app.version import __version__

if TYPE_CHECKING:
    from edge_app.screening.screener import Screener


def describe_run(
    screener: "Screener", source: str, parameters: Mapping[str, str | int | float | bool]
) -> RunHeader:
    """The header of a run that begins now.

    Args:
        screener: what will score.
        source: what was named as input.
        parameters: what else the rows depend on.
    """
    point = screener.operating_point
    return RunHeader(
        format_version=FORMAT_VERSION,
        pneumoscope_version=__version__,
        started_at=utc_now(),
        input=printable(source),
        model_id=screener.bundle.manifest.model_id,
        model_sha256=screener.runtime.model.sha256,
        runtime=screener.runtime.name,
        runtime_version=screener.runtime.version,
        operating_point=CutOffs(
            name=point.name,
            threshold=point.threshold,
            refer_low=point.refer_low,
            refer_high=point.refer_high,
        ),
        parameters=parameters,
    )


def printable(text: str) -> str:
    r"""A path as the header holds it: bytes that are no UTF-8 as `\udcNN`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
