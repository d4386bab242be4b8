#!/bin/bash

# Parameters
#SBATCH --account='lab'"'"'s'
#SBATCH --array=0-2%3
#SBATCH --comment='back\\slash'
#SBATCH --dependency=afterok:41:42
#SBATCH --exclusive
#SBATCH --job-name=small-evaluate-fine_tuned-shards
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mail-type=END
#SBATCH --nice=5
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/runs/small-1/jobs/evaluate-fine_tuned-shards/submitit/%A_%a_0_log.out
#SBATCH --partition=a100
#SBATCH --requeue
#SBATCH --reservation=friday
#SBATCH --signal=USR2@120
#SBATCH --time=60

# setup
jobs=(evaluate-fine_tuned-0 evaluate-fine_tuned-1 evaluate-fine_tuned-2)
job=${jobs[${SLURM_ARRAY_TASK_ID:-0}]}
trap 'echo "launch: setup failed: $BASH_COMMAND (exit status $?)"' ERR
set -o errexit -o errtrace
export NOTE='it'"'"'s $HOME in 中文'
module load cuda
export TMPDIR="/scratch/$USER/a b/$SLURM_JOB_ID"
mkdir -p "$TMPDIR"
set +o errexit +o errtrace
trap - ERR
export PYTHONSAFEPATH=1
trap : TERM
LAUNCH_ATTEMPT=$(apptainer exec --nv 'my image.sif' PYTHON -m launch.attempt begin /runs/small-1 "$job") || exit
[ -n "$LAUNCH_ATTEMPT" ] || exit 0
export LAUNCH_ATTEMPT

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /runs/small-1/jobs/evaluate-fine_tuned-shards/submitit/%A_%a_%t_log.out --kill-on-bad-exit=1 apptainer exec --nv 'my image.sif' PYTHON -u -m submitit.core._submit /runs/small-1/jobs/evaluate-fine_tuned-shards/submitit


# teardown
status=$?
trap '' TERM
apptainer exec --nv 'my image.sif' PYTHON -m launch.attempt end /runs/small-1 "$job" "$status"
if [ $? -eq 75 ]; then
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" || apptainer exec --nv 'my image.sif' PYTHON -m launch.attempt refused /runs/small-1 "$job"
fi
exit "$status"
