"""Folder runs and watching: discovery, order of rows, worker processes; knows no network."""
