"""What can be shown afterwards: exported logs and checkpoints, and whether the one still is what the other says."""
