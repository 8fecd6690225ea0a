"""Service level objectives: one specification, from which rules, tests, load gates and documents are written."""
