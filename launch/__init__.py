"""Planning, submitting and watching runs: all that runs on a login node. Never imports torch."""
