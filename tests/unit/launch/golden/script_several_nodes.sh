#!/bin/bash

# Parameters
#SBATCH --account='lab'"'"'s'
#SBATCH --comment='back\\slash'
#SBATCH --cpus-per-task=4
#SBATCH --dependency=afterok:41:42
#SBATCH --exclusive
#SBATCH --gres=gpu:a100:4
#SBATCH --job-name=small-train
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mail-type=END
#SBATCH --mem=64GB
#SBATCH --nice=5
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --open-mode=append
#SBATCH --output='/my runs/100%% 中文 '"'"'q'"'"' "d" $HOME/1/jobs/train/submitit/%j_0_log.out'
#SBATCH --partition=a100
#SBATCH --requeue
#SBATCH --reservation=friday
#SBATCH --signal=USR2@120
#SBATCH --time=240

# setup
jobs=(train)
job=${jobs[${SLURM_ARRAY_TASK_ID:-0}]}
trap 'echo "launch: setup failed: $BASH_COMMAND (exit status $?)"' ERR
set -o errexit -o errtrace
export NOTE='it'"'"'s $HOME in 中文'
module load cuda
export TMPDIR="/scratch/$USER/a b/$SLURM_JOB_ID"
srun --nodes=2 --ntasks=2 --ntasks-per-node=1 mkdir -p "$TMPDIR"
set +o errexit +o errtrace
trap - ERR
export SRUN_CPUS_PER_TASK=4
export PYTHONSAFEPATH=1
trap : TERM
LAUNCH_ATTEMPT=$(apptainer exec --nv 'my image.sif' PYTHON -m launch.attempt begin '/my runs/100% 中文 '"'"'q'"'"' "d" $HOME/1' "$job") || exit
[ -n "$LAUNCH_ATTEMPT" ] || exit 0
export LAUNCH_ATTEMPT

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output '/my runs/100% 中文 '"'"'q'"'"' "d" $HOME/1/jobs/train/submitit/%j_%t_log.out' --kill-on-bad-exit=1 '--output=/my runs/100%% 中文 '"'"'q'"'"' "d" $HOME/1/jobs/train/submitit/%j_%t_log.out' apptainer exec --nv 'my image.sif' PYTHON -u -m submitit.core._submit '/my runs/100% 中文 '"'"'q'"'"' "d" $HOME/1/jobs/train/submitit'


# teardown
status=$?
trap '' TERM
apptainer exec --nv 'my image.sif' PYTHON -m launch.attempt end '/my runs/100% 中文 '"'"'q'"'"' "d" $HOME/1' "$job" "$status"
if [ $? -eq 75 ]; then
  scontrol requeue "$SLURM_JOB_ID" || apptainer exec --nv 'my image.sif' PYTHON -m launch.attempt refused '/my runs/100% 中文 '"'"'q'"'"' "d" $HOME/1' "$job"
fi
exit "$status"
