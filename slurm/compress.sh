#!/usr/bin/env bash
# Compresses one shard of a list of files per task, by a model script on one CPU.
#   sbatch --array=0-999 slurm/compress.sh ljpeg_PIL.py compress --files_from LIST -o OUT
#SBATCH --job-name=compress --array=0-9 --requeue --signal=B:TERM@120
#SBATCH --cpus-per-task=1 --mem=4G --time=4:00:00
#SBATCH --open-mode=append --output=%x-%A_%a.log
exec "${PYTHON:-.venv/bin/python}" "$@"
