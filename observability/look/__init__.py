"""A look without a cluster: platform, Prometheus and Alertmanager on one machine, faults, and who is called."""
