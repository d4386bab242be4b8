#!/bin/bash

# Parameters
#SBATCH --dependency=afterok:41:42
#SBATCH --job-name=small-prepare
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/runs/small-1/jobs/prepare/submitit/%j_0_log.out
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=60

# setup
jobs=(prepare)
job=${jobs[${SLURM_ARRAY_TASK_ID:-0}]}
export PYTHONSAFEPATH=1
trap : TERM
LAUNCH_ATTEMPT=$(PYTHON -m launch.attempt begin /runs/small-1 "$job") || exit
[ -n "$LAUNCH_ATTEMPT" ] || exit 0
export LAUNCH_ATTEMPT

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /runs/small-1/jobs/prepare/submitit/%j_%t_log.out --kill-on-bad-exit=1 PYTHON -u -m submitit.core._submit /runs/small-1/jobs/prepare/submitit


# teardown
status=$?
trap '' TERM
PYTHON -m launch.attempt end /runs/small-1 "$job" "$status"
if [ $? -eq 75 ]; then
  scontrol requeue "$SLURM_JOB_ID" || PYTHON -m launch.attempt refused /runs/small-1 "$job"
fi
exit "$status"
