"""The commands of `python -m train`: one module each, with `add` (its options) and `run`.

Modules that need Keras are imported in `run`, after what is cheap to check.
"""
