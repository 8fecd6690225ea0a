"""Reads from replicas: where the write-ahead log is, who has come how far, and what a client may not miss."""
