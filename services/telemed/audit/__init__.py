"""What can be proved afterwards: the trail's query API, its hash chain, export and verification."""
