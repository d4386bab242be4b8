"""Cluster profiles: what differs between sites."""
