"""Running a plan on this machine, without Slurm."""
