# make demo         compares our best encoder with JPEG and mozjpeg: demo_output/report.html
# make test         runs every test
# make quick-test   runs the tests that are not marked slow, on Python VERSION (3.13)
# make bench        measures speed: benchmarks/README.md (half an hour)
# make lint         checks style, floors of the packages, and types of learned_jpeg
# make results      measures all results again: IMAGES="KODAK/*.png", 2.5 hours on 2 cores
# make picture      makes docs/report.png again, from the page of make demo, by chromium
# make constraints  looks for new versions of what requirements.txt needs

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
VERSION := 3.13
OTHER := $(VENV)-$(VERSION)
IMAGES := ../shared/KODAK/*.png
PYTEST := -m pytest --numprocesses 2 --dist worksteal
ENVIRONMENT := requirements.txt constraints.txt make_venv.sh

# Without bytecode every start of Python compiles the sources of TensorFlow anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test quick-test bench results picture lint venv other-venv constraints clean

demo: $(INSTALLED)
	$(BIN)/python evaluate.py --batch_dir example_experiments \
	  --runs attention_learned_q_w10_scale1e-5 --mozjpeg --search visual \
	  --qualities 5 12 25 45 68 85 --test_image_glob "example_images/*.png" \
	  --output_dir demo_output --report

test: $(INSTALLED)
	$(BIN)/python $(PYTEST)

quick-test: $(OTHER)/installed
	$(OTHER)/bin/python $(PYTEST) -m "not slow"

bench: $(INSTALLED)
	$(BIN)/python benchmarks/benchmark.py

results: $(INSTALLED)
	$(BIN)/python -m pip install --quiet pyjpegli
	bash example_experiments/measure.sh "$(IMAGES)"

picture: demo
	chromium --headless --no-sandbox --hide-scrollbars --window-size=1280,1000 \
	  --virtual-time-budget=8000 --screenshot=docs/report.png \
	  "file://$(CURDIR)/demo_output/report.html"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

venv: $(INSTALLED)

other-venv: $(OTHER)/installed

$(INSTALLED): $(ENVIRONMENT)
	bash make_venv.sh $(VENV)
	touch $@

$(OTHER)/installed: $(ENVIRONMENT)
	bash make_venv.sh $(OTHER) $(VERSION)
	touch $@

constraints: $(INSTALLED)
	$(BIN)/uv pip compile --universal --python-version 3.10 --generate-hashes --no-header \
	  --no-annotate --upgrade requirements.txt --output-file constraints.txt

clean:
	rm -rf $(VENV) $(VENV)-* demo_output build *.egg-info
