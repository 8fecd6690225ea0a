"""The platform on one machine without containers: `make run` runs real servers from wheels."""
