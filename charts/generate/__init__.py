"""Writes what is derived of charts: `values.schema.json` and the table of values in `README.md`."""
