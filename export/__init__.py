"""From a Keras checkpoint to a sealed model bundle; run as `python -m export`."""
