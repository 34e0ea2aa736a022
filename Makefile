# make demo         the best beside JPEG and mozjpeg: demo_output/report.html
# make test         every test
# make quick-test   those that take less than seconds, on Python VERSION (3.13)
# make bench        speed: benchmarks/README.md (half an hour)
# make lint         style
# make constraints  new versions for what requirements.txt needs (takes uv)

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
VERSION := 3.13
ENVIRONMENT := requirements.txt constraints.txt make_venv.sh

.PHONY: demo test quick-test bench lint venv constraints clean

demo: $(INSTALLED)
	$(BIN)/python evaluate.py --batch_dir example_experiments \
	  --runs attention_learned_q_w10_scale1e-5 --mozjpeg --search ssimulacra2 \
	  --qualities 5 12 25 45 68 85 --test_image_glob "example_images/*.png" \
	  --output_dir demo_output --report

test: $(INSTALLED)
	$(BIN)/python -m pytest

quick-test: $(VENV)-$(VERSION)/installed
	$(VENV)-$(VERSION)/bin/python -m pytest -m "not slow"

bench: $(INSTALLED)
	$(BIN)/python benchmarks/benchmark.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

venv: $(INSTALLED)

$(INSTALLED): $(ENVIRONMENT)
	bash make_venv.sh $(VENV)
	touch $@

$(VENV)-$(VERSION)/installed: $(ENVIRONMENT)
	bash make_venv.sh $(VENV)-$(VERSION) $(VERSION)
	touch $@

constraints:
	uv pip compile --universal --python-version 3.10 --generate-hashes --no-header \
	  --no-annotate --upgrade requirements.txt --output-file constraints.txt

clean:
	rm -rf $(VENV) $(VENV)-* demo_output
