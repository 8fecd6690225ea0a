"""Boards as pictures, for readers without a Grafana: what Grafana would ask, asked of a running Prometheus."""
