"""The first line of a run's results: what scores, and how."""

import hashlib
from collections.abc import Mapping

from edge_app.bundle.manifest import MANIFEST_FILE, Bundle
from edge_app.errors import BundleIntegrityError
from edge_app.results.rows import (
    FORMAT_VERSION,
    LACKS,
    SIGNED_BY,
    CutOffs,
    RunHeader,
    printable,
    utc_now,
)
from edge_app.runs.workers.messages import Ready
from edge_app.version import __version__


def describe_run(
    bundle: Bundle,
    ready: Ready,
    operating_point: str | None,
    source: str,
    parameters: Mapping[str, str | int | float | bool],
) -> RunHeader:
    """The header of a run that begins now.

    Args:
        bundle: the checked bundle.
        ready: which of its models the engine has opened, and in what.
        operating_point: its name, None for the bundle's default.
        source: what was named as input.
        parameters: what else the rows depend on.

    Raises:
        UsageError: the bundle has no such operating point.
        BundleIntegrityError: the engine has read another `bundle.json`.
    """
    manifest_sha256 = hashlib.sha256(bundle.path(MANIFEST_FILE).read_bytes()).hexdigest()
    model = next((m for m in bundle.manifest.models if m.sha256 == ready.model_sha256), None)
    if model is None or manifest_sha256 != ready.manifest_sha256:
        raise BundleIntegrityError(f"{bundle.folder}: {MANIFEST_FILE} changed while it was loaded")
    point = bundle.operating_point(model, operating_point)
    return RunHeader(
        format_version=FORMAT_VERSION,
        pneumoscope_version=__version__,
        started_at=utc_now(),
        input=printable(source),
        model_id=bundle.manifest.model_id,
        model_sha256=model.sha256,
        runtime=ready.runtime,
        runtime_version=ready.runtime_version,
        operating_point=CutOffs(
            name=point.name,
            threshold=point.threshold,
            refer_low=point.refer_low,
            refer_high=point.refer_high,
        ),
        parameters={
            **parameters,
            "bundle_sha256": manifest_sha256,
            SIGNED_BY: bundle.signed_by or "nobody",
            **({LACKS: "; ".join(bundle.lacks)} if bundle.manifest.is_research else {}),
        },
    )
