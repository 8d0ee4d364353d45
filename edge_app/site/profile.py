"""A site profile: a clinic's own cut-offs and calibration for one model file, in `site.json`.

The classes below are the schema, strict in both directions as that of a bundle is. `apply_profile`
makes a bundle that decides by it. Reads and writes no file; see `profile_folder`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from edge_app.bundle.manifest import (
    MANIFEST_FILE,
    Bundle,
    Calibration,
    Figure,
    OperatingPoint,
    Split,
)
from edge_app.errors import SiteProfileError
from edge_app.files.codec import CodecError, canonical_json, decode, parse_json
from edge_app.results.rows import CutOffs, check_utc_time
from edge_app.site.distributions import Baseline

FORMAT_VERSION = 1
PROFILE_FILE = "site.json"
# Of the cut-offs' name in every row, table and report.
PREFIX = "site "


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the cut-offs were to reach; exactly one of the first two.

    Attributes:
        sensitivity: of the lower cut-off.
        referrals_per_100: the most, from the lower cut-off on.
        specificity: of the upper cut-off.
    """

    sensitivity: float | None
    referrals_per_100: float | None
    specificity: float

    def __post_init__(self) -> None:
        """Raises ValueError where both or none of the first two are given."""
        if (self.sensitivity is None) == (self.referrals_per_100 is None):
            raise ValueError("exactly one of sensitivity and referrals_per_100 must be given")


@dataclass(frozen=True, slots=True)
class SiteCalibration:
    """probability = sigmoid(scale * raw_score + offset), for the site's prevalence."""

    scale: float
    offset: float
    ece: Figure

    def __post_init__(self) -> None:
        """Raises ValueError where a higher raw score would mean a lower probability."""
        if self.scale <= 0:
            raise ValueError(f"scale {self.scale} must be positive")


@dataclass(frozen=True, slots=True)
class SiteProfile:
    """`site.json`, format version 1.

    Attributes:
        format_version: of this file.
        name: of the site.
        created_at: ISO 8601, UTC.
        pneumoscope_version: the program that wrote it.
        model_id, model_sha256: the model file that it is for, and no other.
        bundle_sha256: of the `bundle.json` that it is for, which says how a film is prepared.
        runtime: in which the scores were made.
        cases: that it was fitted on.
        prevalence: that calibration and referrals are for.
        wanted: what the cut-offs were to reach.
        cut_offs: raw scores; all from `refer_low` on are referred, all from `refer_high` suspected.
        calibration: the site's own.
        sensitivity: of referral (`refer_low`), on the cases.
        specificity: of suspicion (`refer_high`), on the cases.
        referrals: share of films from `refer_low` on, at the prevalence.
        auroc: on the cases.
        baseline: what the films of the whole run looked like, to watch for drift.
    """

    format_version: int
    name: str
    created_at: str
    pneumoscope_version: str
    model_id: str
    model_sha256: str
    bundle_sha256: str
    runtime: str
    cases: Split
    prevalence: float
    wanted: Wanted
    cut_offs: CutOffs
    calibration: SiteCalibration
    sensitivity: Figure
    specificity: Figure
    referrals: Figure
    auroc: Figure
    baseline: Baseline

    def __post_init__(self) -> None:
        """Raises ValueError for another format version or parts that contradict each other."""
        if self.format_version != FORMAT_VERSION:
            raise ValueError(f"format version {self.format_version} is not {FORMAT_VERSION}")
        check_utc_time(self.created_at)
        if not 0 < self.prevalence < 1:
            raise ValueError(f"prevalence {self.prevalence} must lie between 0 and 1")
        low, middle, high = (
            self.cut_offs.refer_low,
            self.cut_offs.threshold,
            self.cut_offs.refer_high,
        )
        if not low <= middle <= high:
            raise ValueError(f"cut_offs: {low} <= {middle} <= {high} does not hold")

    @classmethod
    def from_json(cls, content: bytes) -> "SiteProfile":
        """Parse the bytes of a `site.json`.

        Raises:
            SiteProfileError: not JSON, or a key is unknown, missing or of the wrong kind.
        """
        try:
            return decode(cls, parse_json(content))
        except CodecError as error:
            raise SiteProfileError(f"{PROFILE_FILE}: {error}") from error

    def to_json(self) -> bytes:
        """The bytes of `site.json`: the same on every machine."""
        return canonical_json(self)


class SignedProfile(NamedTuple):
    """A profile whose signature was checked.

    Attributes:
        profile: what it says.
        sha256: of its bytes.
        signed_by: identifier of the key that signed them.
    """

    profile: SiteProfile
    sha256: str
    signed_by: str

    @property
    def parameters(self) -> Mapping[str, str | int | float | bool]:
        """What the header of a run says of it: with another one it is another run."""
        return {
            "site": self.profile.name,
            "site_sha256": self.sha256,
            "site_signed_by": self.signed_by,
        }


def apply_profile(bundle: Bundle, profile: SiteProfile) -> Bundle:
    """The bundle as the site uses it: one model file, the site's cut-offs and calibration.

    The locator, the checks before a score and the golden inputs stay as they are.

    Args:
        bundle: the checked bundle.
        profile: of the site.

    Raises:
        SiteProfileError: the profile is for another model.
    """
    manifest = bundle.manifest
    bundle_sha256 = hashlib.sha256(bundle.path(MANIFEST_FILE).read_bytes()).hexdigest()
    models = tuple(m for m in manifest.models if m.sha256 == profile.model_sha256)
    if not models or bundle_sha256 != profile.bundle_sha256:
        raise SiteProfileError(
            f"{PROFILE_FILE}: the profile of {profile.name!r} is for the model "
            f"{profile.model_id} (bundle {profile.bundle_sha256[:12]}...), not for "
            f"{manifest.model_id} ({bundle_sha256[:12]}...): score the site's films with this "
            "model and calibrate again"
        )
    own, point = profile.calibration, profile.cut_offs
    calibration = Calibration(
        profile.model_sha256, "platt", own.scale, own.offset, own.ece, profile.cases
    )
    operating_point = OperatingPoint(
        name=point.name,
        model_sha256=profile.model_sha256,
        threshold=point.threshold,
        refer_low=point.refer_low,
        refer_high=point.refer_high,
        purpose=f"fitted on films of the site {profile.name}, {profile.created_at[:10]}",
        fitted_on=profile.cases,
        sensitivity=profile.sensitivity,
        specificity=profile.specificity,
    )
    manifest = replace(
        manifest,
        models=models,
        calibration=(calibration,),
        operating_points=(operating_point,),
        default_operating_point=point.name,
    )
    return replace(bundle, manifest=manifest)
