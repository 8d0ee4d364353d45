"""The offline page of a run and its pictures; scores nothing."""
