"""A file becomes a `Radiograph`, a `Radiograph` the network's input; knows no model."""
