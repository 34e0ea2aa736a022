#!/usr/bin/env bash
# Trains one model for each lambda into DIR/lambda_*/train. Finished ones are skipped,
# interrupted ones go on. Every setting may also come from the environment:
#   STEPS=500 LAMBDAS="0.01 0.1" bash batch_job_attention.sh DIR
set -euo pipefail

SCRIPT=${SCRIPT:-ljpeg_attention.py} # or ljpeg.py
LAMBDAS=${LAMBDAS:-0.001 0.0025 0.005 0.01 0.05 0.1}
TRAIN_GLOB=${TRAIN_GLOB:-images/*.png}
STEPS=${STEPS:-20000}
LR=${LR:-1e-6}
LR_DECAY=${LR_DECAY:-1}
LR_SCHEDULE=${LR_SCHEDULE:-steps} # by LR_DECAY, or cosine: to 0 at STEPS
BATCHSIZE=${BATCHSIZE:-8}
PATCHSIZE=${PATCHSIZE:-256} # px
TOTAL_WEIGHT_REGULARIZER=${TOTAL_WEIGHT_REGULARIZER:-10}
LPIPS_WEIGHT=${LPIPS_WEIGHT:-0}
MSSSIM_WEIGHT=${MSSSIM_WEIGHT:-0}
RATE_MODEL=${RATE_MODEL:-proxy} # proxy: the thesis' loss; entropy; rdoq (ljpeg.py)
ROUNDING=${ROUNDING:-}          # polynomial: the thesis' gradient; of proxy alone
RATE_LR=${RATE_LR:-}            # of the entropy model; empty: 10 times LR
TABLE_LR=${TABLE_LR:-}          # empty: LR
TABLE_INIT=${TABLE_INIT:-}      # entry that all start from; empty: random in 1..2
TABLES_RUN=${TABLES_RUN:-}      # folder of a batch whose tables these start from
SEED=${SEED:-0}
VGG=${VGG:-vgg16}           # vgg16 or vgg19; the attention model only
FREEZE_VGG=${FREEZE_VGG:-0} # 1 keeps the trunk's weights; the attention model only
FEATURE_CACHE=${FEATURE_CACHE:-} # with FREEZE_VGG: folder of features; many times faster
PRECISION=${PRECISION:-}    # float32 or bfloat16; empty: what the machine is best at
PREPROCESS_THREADS=${PREPROCESS_THREADS:-16}

if [[ $# -ne 1 || $1 == -* ]]; then
  echo "usage: bash batch_job_attention.sh DIR" >&2
  exit 2
fi
dir=$1
if [[ $FREEZE_VGG != [01] ]]; then
  echo "batch_job_attention.sh: error: FREEZE_VGG=$FREEZE_VGG is neither 0 nor 1" >&2
  exit 2
fi
folders=$(for lambda in $LAMBDAS; do echo "lambda_${lambda//./}"; done)
if [[ -n $(sort <<<"$folders" | uniq -d) ]]; then
  echo "batch_job_attention.sh: error: two of LAMBDAS=\"$LAMBDAS\" share a folder;" \
    "write them as 0.01" >&2
  exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-$here/.venv/bin/python}
[[ -x $python ]] || python=python3

flags=(--train_glob "$TRAIN_GLOB" --last_step "$STEPS" --lr "$LR"
  --lr_decay "$LR_DECAY" --lr_schedule "$LR_SCHEDULE" --batchsize "$BATCHSIZE" --patchsize "$PATCHSIZE"
  --total_weight_regularizer "$TOTAL_WEIGHT_REGULARIZER"
  --lpips_weight "$LPIPS_WEIGHT" --msssim_weight "$MSSSIM_WEIGHT"
  --rate_model "$RATE_MODEL" --seed "$SEED"
  --preprocess_threads "$PREPROCESS_THREADS")
if [[ $(basename "$SCRIPT") == ljpeg_attention.py ]]; then
  flags+=(--vgg "$VGG")
  [[ $FREEZE_VGG == 1 ]] && flags+=(--freeze_vgg)
  [[ -n $FEATURE_CACHE ]] && flags+=(--feature_cache "$FEATURE_CACHE")
fi
[[ -n $RATE_LR ]] && flags+=(--rate_lr "$RATE_LR")
[[ -n $TABLE_LR ]] && flags+=(--table_lr "$TABLE_LR")
[[ -n $ROUNDING ]] && flags+=(--rounding "$ROUNDING")
[[ -n $TABLE_INIT ]] && flags+=(--table_init "$TABLE_INIT")
[[ -n $PRECISION ]] && flags+=(--precision "$PRECISION")

# A training saves a checkpoint when it is stopped, so the signal is passed on to it.
child=
stop() {
  if [[ -n $child ]] && kill -TERM "$child" 2>/dev/null; then
    wait "$child" || true
  fi
  echo "stopped; the same command goes on" >&2
  exit 130
}
trap stop INT TERM

for lambda in $LAMBDAS; do
  folder=$dir/lambda_${lambda//./}/train
  if grep -qs "^model_checkpoint_path: \"model.ckpt-$STEPS\"" "$folder/checkpoint"; then
    echo "lambda $lambda: finished already, in $folder"
    continue
  fi
  echo "lambda $lambda: training in $folder"
  start=()
  [[ -n $TABLES_RUN ]] && start=(--tables_from "$TABLES_RUN/lambda_${lambda//./}")
  "$python" "$here/$SCRIPT" --checkpoint_dir "$folder" train --lambda "$lambda" \
    "${flags[@]}" "${start[@]}" &
  child=$!
  wait "$child"
  child=
done
