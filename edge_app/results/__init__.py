"""Rows, header, table and journal of a folder run, and their validation; scores nothing."""
