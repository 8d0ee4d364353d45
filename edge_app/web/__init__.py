"""The clinic's workstation in a browser: pages, slip and API over the same scoring as all else."""
