#!/usr/bin/env bash
# Evaluates the runs of a folder with the encodings that suit them, and compares them:
#   bash example_experiments/evaluate.sh DIR "KODAK/*.png"
# The publications' encoding (rounded, standard Huffman tables) goes into DIR itself, the
# others into DIR/_<encoding>; the table of all into DIR/comparison.md, beside the curves
# in the file PUBLISHED (CompressAI's JSON) if that is set. What is measured already is
# not measured again. Of the environment: SEARCHED and REFINED name the runs that are
# searched and refined as well, GOOGLE the folder of the baseline within DIR.
set -euo pipefail

if [[ $# -ne 2 || $1 == -* ]]; then
  echo "usage: bash example_experiments/evaluate.sh DIR \"IMAGES/*.png\"" >&2
  exit 2
fi
dir=$1
images=$2
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH=$project${PYTHONPATH:+:$PYTHONPATH}
python=${PYTHON:-$project/.venv/bin/python}
[[ -x $python ]] || python=python3
# Runs to encode with a search of the integers, and with a refinement.
searched=(tables_rdoq_mse tables_entropy_{mse,lpips,ms-ssim})
refined=(tables_entropy_lpips)
[[ -n ${SEARCHED:-} ]] && read -ra searched <<<"$SEARCHED"
[[ -n ${REFINED:-} ]] && read -ra refined <<<"$REFINED"
google=${GOOGLE:-google_baseline_lr_1e-5/lambda_0005}

present() { # runs... : those of them that are in the folder, as the array runs
  local run
  runs=()
  for run in "$@"; do
    if compgen -G "$dir/$run/lambda_*" >/dev/null; then runs+=("$run"); fi
  done
}
evaluate() { # output folder, evaluate.py's flags...
  echo "== $1"
  "$python" "$project/evaluate.py" --batch_dir "$dir" --output_dir "$1" \
    --test_image_glob "$images" "${@:2}"
}
again() { # output folder, folder that holds JPEG of the same coding, flags...
  mkdir -p "$1"
  [[ -d $1/_output_PIL ]] || cp -r "$2/_output_PIL" "$1"
  evaluate "$1" "${@:3}"
}
baseline=()
[[ -d $dir/$google ]] && baseline=(--google_dir "$dir/$google")

evaluate "$dir" "${baseline[@]}"
evaluate "$dir/_optimized" --entropy_coding optimized "${baseline[@]}"
evaluate "$dir/_trellis" --quantization mozjpeg
folders=("$dir" "$dir"/_{optimized,trellis})

present "${searched[@]}"
if [[ ${#runs[@]} -gt 0 ]]; then
  again "$dir/_rdoq" "$dir" --quantization search --runs "${runs[@]}"
  again "$dir/_optimized_rdoq" "$dir/_optimized" \
    --entropy_coding optimized --quantization search --runs "${runs[@]}"
  folders+=("$dir"/_{rdoq,optimized_rdoq})
fi
# What the search minimises, whatever a model was trained for, beside no model at all.
for tuned in psnr:tables_rdoq_mse {ms-ssim,mixed,ssimulacra2}:tables_entropy_ms-ssim; do
  tune=${tuned%%:*}
  present "${tuned#*:}"
  if [[ ${#runs[@]} -gt 0 ]]; then
    again "$dir/_optimized_$tune" "$dir/_optimized" --entropy_coding optimized \
      --quantization search --tune "$tune" --runs "${runs[@]}"
    folders+=("$dir/_optimized_$tune")
  fi
done
# Made by measure.sh.
if [[ -d $dir/_optimized_visual ]]; then folders+=("$dir/_optimized_visual"); fi
present "${refined[@]}"
if [[ ${#runs[@]} -gt 0 ]]; then
  again "$dir/_optimized_refined" "$dir/_optimized" \
    --entropy_coding optimized --refine_steps 30 --runs "${runs[@]}"
  folders+=("$dir/_optimized_refined")
fi
published=()
[[ -n ${PUBLISHED:-} ]] && published=(--published "$PUBLISHED")
"$python" -m report.compare "${folders[@]}" "${published[@]}" \
  --output "$dir/comparison.md"
if grep -qs '"rate_model": "entropy"' "$dir"/*/lambda_*/train/settings.json; then
  "$python" -m evaluation.rate_check --batch_dir "$dir" --test_image_glob "$images" \
    --output "$dir/rate_check.md"
fi
