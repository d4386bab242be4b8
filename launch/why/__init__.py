"""`launch why`: why a run failed, or what it waits for."""
