#!/usr/bin/env bash
# Evaluates the runs of a folder with every encoding, and compares them:
#   bash evaluate_experiments.sh DIR "KODAK/*.png"
# The publications' encoding (rounded, standard Huffman tables) goes into DIR itself, the
# others into DIR/_<encoding>; the table of all into DIR/comparison.md. What is measured
# already is not measured again.
set -euo pipefail

if [[ $# -ne 2 || $1 == -* ]]; then
  echo "usage: bash evaluate_experiments.sh DIR \"IMAGES/*.png\"" >&2
  exit 2
fi
dir=$1
images=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-$here/.venv/bin/python}
[[ -x $python ]] || python=python3
refined=${REFINED:-tables_entropy_lpips attention_entropy_lpips} # runs
google=${GOOGLE:-google_baseline_lr_1e-5/lambda_005}

evaluate() {
  echo "== $1"
  "$python" "$here/evaluate.py" --batch_dir "$dir" --output_dir "$1" \
    --test_image_glob "$images" "${@:2}"
}
baseline=()
[[ -d $dir/$google ]] && baseline=(--google_dir "$dir/$google")

evaluate "$dir" "${baseline[@]}"
evaluate "$dir/_optimized" --entropy_coding optimized "${baseline[@]}"
evaluate "$dir/_trellis" --entropy_coding trellis
evaluate "$dir/_rdoq" --quantization rdoq
evaluate "$dir/_optimized_rdoq" --entropy_coding optimized --quantization rdoq
folders=("$dir" "$dir"/_{optimized,trellis,rdoq,optimized_rdoq})

runs=()
for run in $refined; do
  [[ -d $dir/$run ]] && runs+=("$run")
done
if [[ ${#runs[@]} -gt 0 ]]; then
  evaluate "$dir/_optimized_refined" --entropy_coding optimized --refine_steps 30 \
    --runs "${runs[@]}"
  folders+=("$dir/_optimized_refined")
fi
"$python" "$here/compare.py" "${folders[@]}" --output "$dir/comparison.md"
"$python" "$here/rate_check.py" --batch_dir "$dir" --test_image_glob "$images" \
  --output "$dir/rate_check.md"
