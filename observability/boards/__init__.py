"""Dashboards as code: what is shown, how Grafana gets it, and how it is drawn where there is no Grafana."""
