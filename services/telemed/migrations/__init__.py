"""One history for the whole database. Run by ``telemed migrate`` as the owner, directly on the primary."""
