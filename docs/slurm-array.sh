#!/bin/bash
#SBATCH --job-name=thorax
#SBATCH --array=1-16
#SBATCH --cpus-per-task=2
#SBATCH --mem=2G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=thorax-%A_%a.log

# Segment a folder of scans in an array of jobs, each with an equal share of the scans:
#
#   sbatch slurm-array.sh SCANS MASKS [OPTION...]
#
# Options of `thorax predict` follow the folders; options of sbatch precede the script.
exec thorax predict "$@"
