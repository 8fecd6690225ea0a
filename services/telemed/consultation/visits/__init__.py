"""Visits: the appointment from its start on."""
