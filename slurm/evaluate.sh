#!/usr/bin/env bash
# Measures one shard of the operating points per task. Afterwards, one call of
# evaluate.py with the same flags gathers the shards and plots.
#   sbatch --array=0-99 slurm/evaluate.sh --batch_dir runs --test_image_glob "KODAK/*.png"
#SBATCH --job-name=evaluate --array=0-9 --requeue
#SBATCH --cpus-per-task=4 --mem=8G --time=4:00:00
#SBATCH --open-mode=append --output=%x-%A_%a.log
exec "${PYTHON:-.venv/bin/python}" evaluate.py "$@"
