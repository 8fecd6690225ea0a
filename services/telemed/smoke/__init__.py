"""`telemed smoke`: proves a running platform over HTTP, as its users would."""
