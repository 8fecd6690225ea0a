"""Runs the jobs that the services declare. Owns no business rule."""
