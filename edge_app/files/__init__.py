"""The one atomic write, append-only files, JSON and tables on disk; blind to their content."""
