"""Accuracy, latency and throughput of every format, on the user's own machine."""
