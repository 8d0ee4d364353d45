"""Intervals, discrimination, calibration, cut-offs: numbers in, numbers out; no file access."""
