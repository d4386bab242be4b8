"""`launch doctor`: whether a cluster is fit for runs."""
