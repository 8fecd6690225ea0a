"""Passwords: which are accepted, how they are hashed, and on which threads."""
