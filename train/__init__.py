"""Training: labelled radiographs in, a checkpoint and its record out (`python -m train`)."""
