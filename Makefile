# make setup lint test fuzz soak bench demo: all a newcomer has to learn. VENV and PYTHON may be set: make test VENV=/tmp/v PYTHON=python3.13

PYTHON = python3
VENV = .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
METADATA = pyproject.toml setup.py constraints.txt

.PHONY: setup lint test fuzz soak bench demo clean test-gpu bench-gpu device-pack device-site

setup: $(VENV)/.dev

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: setup
	$(BIN)/python -m pytest $(PYTEST)

# Random damage over media files for FUZZ_SECONDS (300), from FUZZ_SEED (0) on.
fuzz: setup
	$(BIN)/python tests/faults/fuzz.py --seconds $(or $(FUZZ_SECONDS),300) --seed $(or $(FUZZ_SEED),0)

# A stream received, upscaled and recorded for SOAK_SECONDS (1200): memory and sound.
soak: setup
	SOAK_SECONDS=$(or $(SOAK_SECONDS),1200) $(BIN)/python -m pytest -s -o faulthandler_timeout=0 tests/test_live_soak.py

bench: setup
	$(BIN)/python benchmarks/run.py

# The GPU path on a machine with CUDA, python3, torch, numpy, onnx and pytest; no venv, nothing is fetched. `make device-pack`
# at home makes what such a machine needs besides the checkout; there, `make device-site` builds PyCUDA from it.
# Tests that decode on the GPU need PyAV, which isn't there; they are part of `make test` where both are.
ON_GPU = REQUIRE_GPU=1 PYTHONPATH=.:device-pack/site python3
GPU_TESTS = $(shell grep -L '^import av$$' $$(grep -l 'mark\.gpu' tests/test_*.py))

test-gpu:
	$(ON_GPU) -m pytest -m gpu -W default -p no:cacheprovider --continue-on-collection-errors $(PYTEST) $(GPU_TESTS)

bench-gpu:
	$(ON_GPU) -m benchmarks.gpu $(BENCH)

device-pack: setup
	$(BIN)/python -m benchmarks.gpu.pack device-pack

device-site:
	sh benchmarks/gpu/site.sh device-pack

# Only what running needs: no torch, nothing for development.
demo: $(VENV)/.run
	mkdir -p demo-out
	$(BIN)/vsr-run demo/demo.mp4 demo-out/demo_x2.mp4 --scale 2 --overwrite
	$(BIN)/python demo/compare.py demo-out/demo_x2.mp4 demo-out/side_by_side.png

clean:
	rm -rf $(VENV) build dist demo-out vsr.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(METADATA) | $(BIN)/python
	$(INSTALL) -e .
	touch $@

$(VENV)/.dev: $(METADATA) | $(BIN)/python
	$(INSTALL) -e ".[dev]"
	touch $@ $(VENV)/.run
