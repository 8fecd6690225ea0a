"""The hash chain: what the trail's records are sealed with once they are committed."""
