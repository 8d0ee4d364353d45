"""The engine of a Ray cluster: one worker process of the local engine in each actor."""
