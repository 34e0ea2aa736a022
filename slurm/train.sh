#!/usr/bin/env bash
# Trains one lambda per task, into DIR/lambda_*/train, with the settings of
# batch_job_attention.sh.
#   LR=1e-5 TRAIN_GLOB="photographs/*.png" sbatch slurm/train.sh runs/my_run
#SBATCH --job-name=train --array=0-3 --requeue --signal=B:TERM@120
#SBATCH --gres=gpu:1 --cpus-per-task=8 --mem=16G --time=12:00:00
#SBATCH --open-mode=append --output=%x-%A_%a.log
exec bash batch_job_attention.sh "$@"
