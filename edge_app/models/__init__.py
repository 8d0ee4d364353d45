"""Installed bundles, and what `benchmarks` recommended for this machine."""
