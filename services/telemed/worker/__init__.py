"""Runs the jobs that the services declare, and the outbox relay; owns no business rule."""
