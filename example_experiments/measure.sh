#!/usr/bin/env bash
# Measures all results of the pages again, at the present commit:
#   bash example_experiments/measure.sh "../shared/KODAK/*.png"      (make results)
# The results in this folder are removed first. A call that was interrupted goes on, at the
# same commit only. The numbers of the README come first (about 40 minutes on 2 cores),
# then those of the trained models (about 2 hours). Needs pyjpegli for jpegli.
set -euo pipefail

if [[ $# -ne 1 || $1 == -* ]]; then
  echo "usage: bash example_experiments/measure.sh \"IMAGES/*.png\"" >&2
  exit 2
fi
images=$1
compgen -G "$images" >/dev/null || {
  echo "measure.sh: error: no image $images" >&2
  exit 1
}
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$project"
python=${PYTHON:-$project/.venv/bin/python}
[[ -x $python ]] || python=python3
dir=example_experiments
begun=$dir/.begun
commit=$(git rev-parse --short HEAD)

code_changes=$(git status --porcelain -- '*.py' '*.sh' '*.json' ":!$dir")
if [[ -n $code_changes ]]; then
  echo "measure.sh: error: commit the changes of the code first, or stash them:" >&2
  echo "$code_changes" >&2
  exit 1
fi
if [[ -e $begun && $(cat "$begun") != "$commit" ]]; then
  echo "measure.sh: error: $begun: begun at commit $(cat "$begun"), not $commit;" \
    "check that one out to go on, or delete the file to measure all again" >&2
  exit 1
fi
if [[ ! -e $begun ]]; then
  rm -rf "$dir"/{_output,_output_PIL,_encoders,_demo} "$dir"/_*/{_output,_output_PIL}
  echo "$commit" >"$begun"
fi

steps=8
number=0
step() {
  number=$((number + 1))
  echo "=== $number of $steps: $1 ($((SECONDS / 60)) minutes so far)"
}
evaluate() { # output folder, flags...
  "$python" evaluate.py --batch_dir "$dir" --output_dir "$1" --runs \
    --test_image_glob "$images" "${@:2}"
}

step "JPEG and mozjpeg"
evaluate "$dir" --mozjpeg
evaluate "$dir/_optimized" --entropy_coding optimized

step "the search without a model"
for tune in visual ssimulacra2 psnr ms-ssim mixed; do
  own=$dir/_optimized_$tune
  if [[ ! -d $own/_output_PIL ]]; then
    mkdir -p "$own"
    from=$dir/_optimized_visual
    [[ $tune == visual ]] && from=$dir/_optimized
    cp -r "$from/_output_PIL" "$own"
  fi
  evaluate "$own" --entropy_coding optimized --quantization search --tune "$tune"
done

step "WebP, AVIF, jpegli, and --quality"
# The rows of what is not installed are left out, and named.
"$python" -m evaluation.encoders "$dir/_encoders" "$images" || true

step "the five example images, as make demo does it"
"$python" evaluate.py --batch_dir "$dir" --output_dir "$dir/_demo" --mozjpeg \
  --runs attention_learned_q_w10_scale1e-5 --search visual \
  --qualities 5 12 25 45 68 85 --test_image_glob "example_images/*.png"

step "the numbers of the pages"
"$python" -m report.numbers

step "the trained models"
bash "$dir/evaluate.sh" "$dir" "$images"

step "figures"
"$python" -m report.compare "$dir" "$dir"/_optimized{,_visual,_ssimulacra2,_psnr} \
  --published "$dir/_encoders/curves.json" --figure_dir "$dir/_comparison" --only \
  "JPEG, optimized, 4:2:0" "mozjpeg, 4:2:0" "jpegli 4:2:0, lossless pass" \
  "search, no model, optimized, 4:2:0, search, tuned for visual" \
  "search, no model, optimized, 4:2:0, search, tuned for psnr" "AVIF, speed 6" ||
  echo "measure.sh: no figures; see above" >&2

step "the numbers of the pages again"
printf '{"commit": "%s", "date": "%s"}\n' "$commit" "$(LC_ALL=C date '+%-d %B %Y')" \
  >"$dir/measured.json"
"$python" -m report.numbers
rm "$begun"
echo "Done in $((SECONDS / 60)) minutes. Look at git diff, then commit $dir and the pages."
