# Two commands for a fresh machine with Python 3.11 or newer: `make demo` and `make test`. Two more for GPUs: `make
# kernels` after a change of rules.cu, and `make gpu` on a machine that has one.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test kernels gpu clean
.DELETE_ON_ERROR:

demo: $(VENV)/.base-installed  ## fuse a pair end to end; `make demo IR=ir.mp4 VIS=vis.mp4` takes yours
	$(BIN)/python run_stream.py demo --out demo $(if $(IR),--ir "$(IR)") $(if $(VIS),--vis "$(VIS)")

test: $(VENV)/.test-installed  ## style, types and tests
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(PYTEST_ARGS)

kernels: $(VENV)/.base-installed  ## write the shipped PTX anew; needs nvcc, of a CUDA toolkit or of the extra `nvcc`
	$(BIN)/python -m engines.kernels

gpu:  ## tests, sanitizer and benchmark on the GPU here, by the Python that has torch and pycuda; see docs/gpu.md
	$(PYTHON) docs/gpu.py $(GPU_ARGS)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is $$($(PYTHON) -V 2>&1); Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module: apt-get install python3-venv"; rm -rf $(VENV); exit 2; }

$(VENV)/.base-installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e .
	@touch $@

$(VENV)/.test-installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.base-installed

clean:
	rm -rf $(VENV) build demo *.egg-info
