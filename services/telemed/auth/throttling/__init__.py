"""Slowing down whoever guesses passwords, without giving anybody a way to lock others out."""
