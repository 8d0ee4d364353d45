"""The local engine: worker processes and the messages between them and their parent."""
