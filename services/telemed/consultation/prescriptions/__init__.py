"""Prescriptions: immutable; a new one supersedes the one before."""
