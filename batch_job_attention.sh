#!/usr/bin/env bash
#SBATCH --requeue --open-mode=append
# B: sends the signal to this shell, which passes it on; by default only job steps get it.
#SBATCH --signal=B:TERM@120
# Trains one model for each lambda into DIR/lambda_*/train. Finished trainings are
# skipped, interrupted ones go on. Every setting may come from the environment:
#   STEPS=500 LAMBDAS="0.01 0.1" bash batch_job_attention.sh DIR
#   JOBS=2 bash batch_job_attention.sh DIR               two trainings at a time
#   sbatch --array=0-5 batch_job_attention.sh DIR        one lambda per task of SLURM
set -euo pipefail

SCRIPT=${SCRIPT:-ljpeg_attention.py} # or ljpeg.py
LAMBDAS=${LAMBDAS:-0.001 0.0025 0.005 0.01 0.05 0.1}
TRAIN_GLOB=${TRAIN_GLOB:-images/*.png}
STEPS=${STEPS:-20000}
LR=${LR:-1e-6}
LR_DECAY=${LR_DECAY:-1}
LR_SCHEDULE=${LR_SCHEDULE:-steps} # steps: by LR_DECAY; cosine: to 0 at STEPS
BATCHSIZE=${BATCHSIZE:-8}
PATCHSIZE=${PATCHSIZE:-256} # px
TOTAL_WEIGHT_REGULARIZER=${TOTAL_WEIGHT_REGULARIZER:-10}
LPIPS_WEIGHT=${LPIPS_WEIGHT:-0}
MSSSIM_WEIGHT=${MSSSIM_WEIGHT:-0}
SSIMULACRA2_WEIGHT=${SSIMULACRA2_WEIGHT:-0}
RATE_MODEL=${RATE_MODEL:-proxy} # proxy (the publication), entropy, search (ljpeg.py)
ROUNDING=${ROUNDING:-}          # polynomial: the published gradient; only with proxy
SUBSAMPLING=${SUBSAMPLING:-}    # 4:4:4, 4:2:2 or 4:2:0; empty: that of RATE_MODEL
RATE_LR=${RATE_LR:-}            # learning rate of the entropy model; empty: 10 times LR
TABLE_LR=${TABLE_LR:-}          # learning rate of the tables; empty: LR
TABLE_INIT=${TABLE_INIT:-}      # first value of all table entries; empty: random in 1..2
TABLES_RUN=${TABLES_RUN:-}      # folder of a batch whose tables the trainings start from
SEED=${SEED:-0}
VGG=${VGG:-vgg16}           # vgg16 or vgg19; only for the attention model
FREEZE_VGG=${FREEZE_VGG:-0} # 1 keeps the trunk's weights; only for the attention model
FEATURE_CACHE=${FEATURE_CACHE:-} # with FREEZE_VGG: folder of features; many times faster
PRECISION=${PRECISION:-}    # float32 or bfloat16; empty: the faster one on this machine
PREPROCESS_THREADS=${PREPROCESS_THREADS:-16}
JOBS=${JOBS:-1} # trainings at a time; with several GPUs each gets one

refuse() {
  echo "batch_job_attention.sh: error: $1" >&2
  exit 2
}

if [[ $# -ne 1 || $1 == -* ]]; then
  echo "usage: bash batch_job_attention.sh DIR" >&2
  exit 2
fi
dir=$1
[[ $FREEZE_VGG == [01] ]] || refuse "FREEZE_VGG=$FREEZE_VGG is neither 0 nor 1"
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

flags=(--train_glob "$TRAIN_GLOB" --last_step "$STEPS" --lr "$LR"
  --lr_decay "$LR_DECAY" --lr_schedule "$LR_SCHEDULE" --batchsize "$BATCHSIZE" --patchsize "$PATCHSIZE"
  --total_weight_regularizer "$TOTAL_WEIGHT_REGULARIZER"
  --lpips_weight "$LPIPS_WEIGHT" --msssim_weight "$MSSSIM_WEIGHT"
  --ssimulacra2_weight "$SSIMULACRA2_WEIGHT"
  --rate_model "$RATE_MODEL" --seed "$SEED"
  --preprocess_threads "$PREPROCESS_THREADS")
if [[ $(basename "$SCRIPT") == ljpeg_attention.py ]]; then
  flags+=(--vgg "$VGG")
  [[ $FREEZE_VGG == 1 ]] && flags+=(--freeze_vgg)
  [[ -n $FEATURE_CACHE ]] && flags+=(--feature_cache "$FEATURE_CACHE")
fi
[[ -n $SUBSAMPLING ]] && flags+=(--subsampling "$SUBSAMPLING")
[[ -n $RATE_LR ]] && flags+=(--rate_lr "$RATE_LR")
[[ -n $TABLE_LR ]] && flags+=(--table_lr "$TABLE_LR")
[[ -n $ROUNDING ]] && flags+=(--rounding "$ROUNDING")
[[ -n $TABLE_INIT ]] && flags+=(--table_init "$TABLE_INIT")
[[ -n $PRECISION ]] && flags+=(--precision "$PRECISION")

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
  if grep -qs "^model_checkpoint_path: \"model.ckpt-$STEPS\"" "$folder/checkpoint"; then
    echo "lambda $lambda: finished already, in $folder"
    continue
  fi
  find_slot
  ((status == 0)) || break
  echo "lambda $lambda: training in $folder"
  start=()
  [[ -n $TABLES_RUN ]] && start=(--tables_from "$TABLES_RUN/lambda_${lambda//./}")
  (
    if ((${#gpus[@]})); then
      export CUDA_VISIBLE_DEVICES=${gpus[slot % ${#gpus[@]}]}
    fi
    exec "$python" "$here/$SCRIPT" --checkpoint_dir "$folder" train --lambda "$lambda" \
      "${flags[@]}" ${start[@]+"${start[@]}"}
  ) &
  pids[slot]=$!
done
for pid in ${pids[@]+"${pids[@]}"}; do
  wait "$pid" || status=$?
done
exit "$status"
