"""Technical ground: databases, cache, problems, identity, telemetry. Knows no medicine."""
