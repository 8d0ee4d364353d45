"""The model bundle: manifest, loading, signature, archive; runs no network."""
