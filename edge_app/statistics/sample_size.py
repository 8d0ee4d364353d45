"""How many cases it takes to know a share well enough; numbers in, numbers out."""

from bisect import bisect_left

from edge_app.statistics.intervals import check_share, wilson

_MOST_CASES = 10_000_000


def cases_for_margin(share: float, margin: float, confidence: float = 0.95) -> int:
    """The fewest cases of which Wilson's interval is at most `margin` to either side on average.

    The interval that is reported, solved for n; for large n the n = z^2 p (1 - p) / margin^2 that
    protocols of diagnostic accuracy use (Buderer NMF. Acad Emerg Med 1996; 3:895-900; WHO and TDR.
    Determining the local calibration of computer-assisted detection thresholds: a toolkit. 2021,
    whose protocol sizes the sick by the sensitivity and takes all by the prevalence).

    Args:
        share: expected, in [0, 1].
        margin: half the width of the interval, in (0, 0.5).
        confidence: two-sided coverage.
    """
    check_share("margin", 2 * margin)
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1]: {share}")

    def is_narrow(n: int) -> bool:
        interval = wilson(share * n, n, confidence)
        return interval.high - interval.low <= 2 * margin

    return bisect_left(range(1, _MOST_CASES), True, key=is_narrow) + 1
