#!/usr/bin/env bash
# One experiment on a SLURM cluster, one process for each GPU; jax.distributed reads SLURM itself.
# From the repository root, with .venv made on a file system that every node sees:
#
#   JSSL_EXTRA=cuda tools/environment
#   sbatch --nodes=4 tools/launch/slurm.sh simclr_v2 --config.batch=4096
#
# Flags on the sbatch line win over the #SBATCH lines, and flags after the slug over those below.
#SBATCH --job-name=jssl
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
#SBATCH --requeue
set -euo pipefail

slug=${1:?'usage: sbatch tools/launch/slurm.sh SLUG [flags]'}
shift
cd "${SLURM_SUBMIT_DIR:?'submit this script with sbatch'}" # SLURM runs a copy from its spool

# JAX picks the GPU of each process by its local number, so each process has to see all of a node's.
# A requeued job finds its checkpoint in the working folder and goes on from there.
exec srun --kill-on-bad-exit=1 --gpu-bind=none \
    .venv/bin/jssl run "$slug" --preset=paper --distributed --mesh=data:-1 \
    --workdir="runs/$slug" "$@"
