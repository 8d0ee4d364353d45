"""The version of pneumoscope (Semantic Versioning); the wheel's is read from here."""

__version__ = "0.1.0"
