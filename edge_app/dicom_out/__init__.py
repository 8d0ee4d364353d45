"""Answers as DICOM objects: a structured report and a picture of it, in the film's own study."""
