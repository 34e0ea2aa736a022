#!/usr/bin/env bash
#SBATCH --requeue --open-mode=append
# B: sends the signal to this shell, which passes it on; by default only job steps get it.
#SBATCH --signal=B:TERM@120
# Trains one model for each lambda into DIR/lambda_*/train, on PHOTOGRAPHS (a folder or a
# quoted glob; default images/*.png). Finished trainings are skipped, interrupted ones go
# on with the settings that they began with. Without settings a training takes minutes.
# Settings may come from the environment, for one call:
#   SCRIPT=ljpeg.py bash batch_job_attention.sh runs/tables "photos/*.png"
#   TABLES_RUN=runs/tables bash batch_job_attention.sh runs/attention "photos/*.png"
#   JOBS=2 bash batch_job_attention.sh DIR               two trainings at a time
#   sbatch --array=0-3 batch_job_attention.sh DIR        one lambda per task of SLURM
set -euo pipefail

# A setting that is empty is that of the script (`python3 ljpeg.py train --help`).
SCRIPT=${SCRIPT:-ljpeg_attention.py} # or ljpeg.py
RATE_MODEL=${RATE_MODEL:-}           # entropy, search (ljpeg.py), proxy (the publication)
LAMBDAS=${LAMBDAS:-}                 # empty: those below, by the rate model
TRAIN_GLOB=${TRAIN_GLOB:-}           # if PHOTOGRAPHS is not given
STEPS=${STEPS:-}
LR=${LR:-}
LR_DECAY=${LR_DECAY:-}
LR_SCHEDULE=${LR_SCHEDULE:-} # steps: by LR_DECAY; cosine: to 0 at STEPS
BATCHSIZE=${BATCHSIZE:-}
PATCHSIZE=${PATCHSIZE:-} # px
TOTAL_WEIGHT_REGULARIZER=${TOTAL_WEIGHT_REGULARIZER:-}
LPIPS_WEIGHT=${LPIPS_WEIGHT:-}
MSSSIM_WEIGHT=${MSSSIM_WEIGHT:-}
SSIMULACRA2_WEIGHT=${SSIMULACRA2_WEIGHT:-}
ROUNDING=${ROUNDING:-}       # polynomial: the published gradient; only with proxy
SUBSAMPLING=${SUBSAMPLING:-} # 4:4:4, 4:2:2 or 4:2:0
RATE_LR=${RATE_LR:-}         # learning rate of the entropy model
TABLE_LR=${TABLE_LR:-}       # learning rate of the tables
TABLE_INIT=${TABLE_INIT:-}   # first value of all table entries
TABLES_RUN=${TABLES_RUN:-}   # folder of a batch whose tables the trainings start from
SEED=${SEED:-}
VGG=${VGG:-}                     # vgg16 or vgg19; only for the attention model
FREEZE_VGG=${FREEZE_VGG:-}       # 1 keeps the trunk's weights, 0 trains them; likewise
FEATURE_CACHE=${FEATURE_CACHE:-} # folder of features of a frozen trunk: many times faster
PRECISION=${PRECISION:-}         # float32 or bfloat16; empty: the faster one here
PREPROCESS_THREADS=${PREPROCESS_THREADS:-}
JOBS=${JOBS:-1} # trainings at a time; with several GPUs each gets one

refuse() {
  echo "batch_job_attention.sh: error: $1" >&2
  exit 2
}

if [[ $# -lt 1 || $# -gt 2 || $1 == -* ]]; then
  echo "usage: bash batch_job_attention.sh DIR [PHOTOGRAPHS]" >&2
  exit 2
fi
dir=$1
TRAIN_GLOB=${2:-$TRAIN_GLOB}
[[ $FREEZE_VGG == "" || $FREEZE_VGG == [01] ]] ||
  refuse "FREEZE_VGG=$FREEZE_VGG is neither 0 nor 1"
if [[ -z $LAMBDAS ]]; then
  LAMBDAS="0.0005 0.001 0.002 0.005"
  [[ $RATE_MODEL == proxy ]] && LAMBDAS="0.001 0.0025 0.005 0.01 0.05 0.1"
fi
[[ $JOBS =~ ^[1-9][0-9]?$ ]] || refuse "JOBS=$JOBS is not a number from 1 to 99"
folders=$(for lambda in $LAMBDAS; do echo "lambda_${lambda//./}"; done)
if [[ -n $(sort <<<"$folders" | uniq -d) ]]; then
  refuse "two of LAMBDAS=\"$LAMBDAS\" share a folder; write them as 0.01"
fi
read -ra lambdas <<<"$LAMBDAS"
job=${SLURM_JOB_ID:-}
if [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then
  job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
  ((SLURM_ARRAY_TASK_ID < ${#lambdas[@]})) || refuse \
    "task $SLURM_ARRAY_TASK_ID: LAMBDAS has ${#lambdas[@]}, and the first is task 0"
  lambdas=("${lambdas[SLURM_ARRAY_TASK_ID]}")
fi
own_path=${BASH_SOURCE[0]}
if [[ $own_path == */slurm_script ]]; then # a copy that sbatch made, elsewhere
  own_path=$(scontrol show job "$job" | sed -n 's/^ *Command=//p')
  own_path=${own_path%batch_job_attention.sh*}.
fi
here=$(cd "$(dirname "$own_path")" && pwd)
python=${PYTHON:-$here/.venv/bin/python}
[[ -x $python ]] || python=python3

flags=()
add() { # flag, value: if there is one
  [[ -z $2 ]] || flags+=("$1" "$2")
}
add --train_glob "$TRAIN_GLOB"
add --last_step "$STEPS"
add --lr "$LR"
add --lr_decay "$LR_DECAY"
add --lr_schedule "$LR_SCHEDULE"
add --batchsize "$BATCHSIZE"
add --patchsize "$PATCHSIZE"
add --total_weight_regularizer "$TOTAL_WEIGHT_REGULARIZER"
add --lpips_weight "$LPIPS_WEIGHT"
add --msssim_weight "$MSSSIM_WEIGHT"
add --ssimulacra2_weight "$SSIMULACRA2_WEIGHT"
add --rate_model "$RATE_MODEL"
add --rounding "$ROUNDING"
add --subsampling "$SUBSAMPLING"
add --rate_lr "$RATE_LR"
add --table_lr "$TABLE_LR"
add --table_init "$TABLE_INIT"
add --seed "$SEED"
add --precision "$PRECISION"
add --preprocess_threads "$PREPROCESS_THREADS"
if [[ $(basename "$SCRIPT") == ljpeg_attention.py ]]; then
  add --vgg "$VGG"
  [[ $FREEZE_VGG == 1 ]] && flags+=(--freeze_vgg)
  [[ $FREEZE_VGG == 0 ]] && flags+=(--no-freeze_vgg)
  add --feature_cache "$FEATURE_CACHE"
fi

# Numbers of the GPUs to share out; empty where all trainings see the same ones.
gpus=()
if ((JOBS > 1)); then
  if [[ -n ${CUDA_VISIBLE_DEVICES:-} ]]; then
    IFS=, read -ra gpus <<<"$CUDA_VISIBLE_DEVICES"
  elif count=$(nvidia-smi --list-gpus 2>/dev/null | wc -l) && ((count > 1)); then
    read -ra gpus <<<"$(seq -s ' ' 0 $((count - 1)))"
  fi
fi

# Prints the newest checkpoints of this job.
progress() {
  local lambda
  for lambda in "${lambdas[@]}"; do
    cat "$dir/lambda_${lambda//./}/train/checkpoint" 2>/dev/null || true
  done
}

# Succeeds if this job has to be queued again because its time is nearly up. A job that
# is cancelled, or put back by the scheduler itself, is not in the state RUNNING; a job
# that made no progress never would.
ends_with_its_time() {
  [[ -n $job && $(squeue -h -j "$job" -o %T 2>/dev/null) == RUNNING &&
    $(progress) != "$progress_at_start" ]]
}

# A training saves a checkpoint when it is stopped, so the signal is passed on to it.
stop() {
  trap '' INT TERM
  kill -TERM ${pids[@]+"${pids[@]}"} 2>/dev/null || true
  wait
  if [[ $1 == TERM ]] && ends_with_its_time && scontrol requeue "$job"; then
    echo "out of time; queued again, to go on" >&2
  else
    echo "stopped; the same command goes on" >&2
  fi
  exit 130
}

pids=() # of the trainings, by slot
status=0
progress_at_start=$(progress)
trap 'stop INT' INT
trap 'stop TERM' TERM

# Sets `slot` to one that is free, once there is one, and takes note of failures.
find_slot() {
  while :; do
    for ((slot = 0; slot < JOBS; slot++)); do
      local pid=${pids[slot]:-}
      if [[ -n $pid ]] && { ((JOBS == 1)) || ! kill -0 "$pid" 2>/dev/null; }; then
        wait "$pid" || status=$?
        unset "pids[slot]"
      fi
      [[ -n ${pids[slot]:-} ]] || return 0
    done
    sleep 1 &
    wait $! # which signals interrupt
  done
}

for lambda in "${lambdas[@]}"; do
  folder=$dir/lambda_${lambda//./}/train
  steps=$STEPS
  start=()
  if [[ -f $folder/checkpoint && -f $folder/settings.json ]]; then
    start=(--resume)
    if [[ -z $steps ]]; then
      steps=$(sed -n 's/^ *"last_step": \([0-9]*\),*$/\1/p' "$folder/settings.json")
    fi
  elif [[ -n $TABLES_RUN ]]; then
    start=(--tables_from "$TABLES_RUN/lambda_${lambda//./}")
  fi
  if grep -qs "^model_checkpoint_path: \"model.ckpt-$steps\"" "$folder/checkpoint"; then
    echo "lambda $lambda: finished already, in $folder"
    continue
  fi
  find_slot
  ((status == 0)) || break
  echo "lambda $lambda: training in $folder"
  (
    if ((${#gpus[@]})); then
      export CUDA_VISIBLE_DEVICES=${gpus[slot % ${#gpus[@]}]}
    fi
    exec "$python" "$here/$SCRIPT" --checkpoint_dir "$folder" train --lambda "$lambda" \
      ${flags[@]+"${flags[@]}"} ${start[@]+"${start[@]}"}
  ) &
  pids[slot]=$!
done
for pid in ${pids[@]+"${pids[@]}"}; do
  wait "$pid" || status=$?
done
exit "$status"
