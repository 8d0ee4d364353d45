"""Statistics: numbers in, numbers out; no file access, and one copy for the whole repository.

The edge app itself computes little: `calibration.Platt` turns a raw score into a probability,
`logistic.sigmoid` does so for one number without numpy, and `intervals.Figure` is a record. All
else is used by export, training and benchmarks alone: `cutoffs`, `discrimination`, `observations`
and the fitting half of `calibration`. It lives here because those three may import `edge_app` but
not one another.
"""
