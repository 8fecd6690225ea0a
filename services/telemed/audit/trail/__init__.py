"""The trail as administrators look at it."""
