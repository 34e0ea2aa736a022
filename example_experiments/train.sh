#!/usr/bin/env bash
# Trains every run of example_experiments into DIR, on the photographs of IMAGES:
#   bash example_experiments/train.sh DIR IMAGES [RUN...]
# Finished checkpoints are skipped, an interrupted one goes on. Every twelfth photograph,
# from the sixth, is held out for choosing settings (DIR/_split/held_out). Without RUN,
# all of them are trained, one after the other.
set -euo pipefail

if [[ $# -lt 2 || $1 == -* ]]; then
  echo "usage: bash example_experiments/train.sh DIR IMAGES [RUN...]" >&2
  exit 2
fi
dir=$1
images=$2
shift 2
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$project/.venv/bin/python}
[[ -x $python ]] || python=python3

shopt -s nullglob
photographs=("$images"/*.png)
if [[ ${#photographs[@]} -eq 0 ]]; then
  echo "train.sh: error: no .png files in $images" >&2
  exit 1
fi
mkdir -p "$dir/_split/train" "$dir/_split/held_out"
for index in "${!photographs[@]}"; do
  part=train
  [[ $((index % 12)) -eq 5 ]] && part=held_out
  ln -sfn "$(realpath "${photographs[index]}")" "$dir/_split/$part/"
done

# 2 cores allow crops of 128 px (MS-SSIM needs 161), a frozen trunk, whose features are
# computed once, and tables that start at 50: those settle within a thousand steps.
export TRAIN_GLOB="$dir/_split/train/*.png"
export PATCHSIZE=128 BATCHSIZE=8 FREEZE_VGG=1 TABLE_INIT=50 TABLE_LR=1e-5 LR=1e-3
export FEATURE_CACHE="$dir/_features" STEPS=1000 TOTAL_WEIGHT_REGULARIZER=0
export RATE_MODEL=proxy SUBSAMPLING=4:4:4 LR_SCHEDULE=steps SSIMULACRA2_WEIGHT=0

# A training saves a checkpoint when it is stopped, so the signal is passed on to it.
child=
stop() {
  if [[ -n $child ]] && kill -TERM "$child" 2>/dev/null; then
    wait "$child" || true
  fi
  exit 130
}
trap stop INT TERM
run() {
  "$@" &
  child=$!
  wait "$child"
  child=
}

batch() {
  run env "${@:2}" bash "$project/batch_job_attention.sh" "$dir/$1"
}
tables() {
  batch "$1" SCRIPT=ljpeg.py "${@:2}"
}
# The publication's loss: tables alone, those for LPIPS from those for MSE, and then
# attention from the tables of the same loss.
published_tables() { # suffix of the run: _lpips and the weight of LPIPS, or none
  [[ $tables_done == *"<$1>"* ]] && return
  tables_done+="<$1>"
  local settings=(STEPS=2000)
  [[ -n $1 ]] && settings=(STEPS=1000 LPIPS_WEIGHT="${1#_lpips}" TABLE_INIT=
    TABLES_RUN="$dir/tables_$published")
  tables "tables_$published$1" TABLE_LR=2e-5 LR_SCHEDULE=cosine \
    TOTAL_WEIGHT_REGULARIZER=10 "${settings[@]}"
}
published_attention() { # the same
  published_tables ""
  [[ -n $1 ]] && published_tables "$1"
  batch "attention_$published$1" STEPS="$([[ -n $1 ]] && echo 400 || echo 500)" \
    LPIPS_WEIGHT="${1:+${1#_lpips}}" TABLES_RUN="$dir/tables_$published$1" TABLE_INIT= \
    TABLE_LR=2e-6 LR=3e-4 LR_SCHEDULE=cosine TOTAL_WEIGHT_REGULARIZER=10
}
# An estimated rate: tables alone, and then attention from the tables of the same loss.
loss_of() { # mse, lpips or ms-ssim: sets `loss`
  local perceptual="LAMBDAS=0.00025 0.0005 0.001 0.002 0.004 0.01 0.02"
  case $1 in
    mse) loss=("$mse") ;;
    lpips) loss=(LPIPS_WEIGHT=5000 "$perceptual") ;;
    ms-ssim) loss=(MSSSIM_WEIGHT=5000 PATCHSIZE=176 BATCHSIZE=4 "$perceptual") ;;
  esac
  loss+=(RATE_MODEL=entropy RATE_LR=1e-1)
}
entropy_tables() { # the same
  [[ $tables_done == *"<$1>"* ]] && return
  tables_done+="<$1>"
  loss_of "$1"
  tables "tables_entropy_$1" STEPS=800 "${loss[@]}"
}
entropy_attention() { # the same
  entropy_tables "$1"
  loss_of "$1"
  batch "attention_entropy_$1" STEPS=400 TABLES_RUN="$dir/tables_entropy_$1" \
    TABLE_INIT= TABLE_LR=2e-6 LR=1e-4 LR_SCHEDULE=cosine "${loss[@]}"
}
published=learned_q_w10_scale1e-5
tables_done=
mse="LAMBDAS=0.001 0.002 0.004 0.008 0.016 0.04 0.08"

google() {
  run "$python" "$project/google_baseline.py" --checkpoint_dir "$dir/$1/lambda_0005/train" \
    train --train_glob "$TRAIN_GLOB" --patchsize 96 --batchsize 4 --lambda 0.005 \
    --lr 1e-5 --lr_schedule cosine --rate_lr 1e-1 --last_step 600
}

train() {
  case $1 in
    "tables_$published")
      published_tables ""
      ;;
    "tables_$published"*)
      published_tables ""
      published_tables "${1#"tables_$published"}"
      ;;
    "attention_$published"*) published_attention "${1#"attention_$published"}" ;;
    google_baseline_lr_1e-5) google "$1" ;;
    # The search leaves some entries unused: the regularizer takes those up.
    tables_rdoq_mse)
      tables "$1" RATE_MODEL=search SUBSAMPLING=4:2:0 TOTAL_WEIGHT_REGULARIZER=1e-4 "$mse"
      ;;
    tables_entropy_*) entropy_tables "${1#tables_entropy_}" ;;
    attention_entropy_*) entropy_attention "${1#attention_entropy_}" ;;
  esac
}

runs=(tables_rdoq_mse tables_entropy_mse tables_entropy_lpips tables_entropy_ms-ssim
  attention_entropy_mse attention_entropy_lpips attention_entropy_ms-ssim
  {tables,attention}_"$published"{,_lpips500,_lpips5000} google_baseline_lr_1e-5)
for run in "$@"; do
  if [[ " ${runs[*]} " != *" $run "* ]]; then
    echo "train.sh: error: no run is called $run" >&2
    exit 2
  fi
done
[[ $# -gt 0 ]] && runs=("$@")
for run in "${runs[@]}"; do
  train "$run"
done
