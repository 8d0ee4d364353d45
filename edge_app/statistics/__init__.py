"""Statistics: numbers in, numbers out; no file access, and one copy for the whole repository.

The edge app itself computes little: `logistic` turns raw scores into probabilities, and
`intervals.Figure` is a record. All else is used by export, training and benchmarks alone:
`calibration`, `cutoffs`, `discrimination` and `observations`. It lives here because those three may
import `edge_app` but not one another.
"""
