"""Fine-tuning and exact, sharded evaluation: everything that runs on a compute node."""
