# The two commands of the README, in environments of their own.
PYTHON ?= python3
CONSTRAINTS = constraints.txt

.PHONY: run test

run: .venv/run.ready  ## animate the bundled portrait with the bundled voice
	.venv/run/bin/python -m emo_rt.run --image assets/portrait.png --audio assets/voice.wav --out out/demo.mp4

test: .venv/dev.ready  ## lint, types and tests
	.venv/dev/bin/ruff check .
	.venv/dev/bin/mypy
	.venv/dev/bin/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# The runtime alone: no torch, diffusers or transformers.
.venv/run.ready: pyproject.toml
	$(PYTHON) -m venv .venv/run
	.venv/run/bin/pip install --quiet --disable-pip-version-check --editable ".[openvino]"
	touch $@

.venv/dev.ready: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv .venv/dev
	.venv/dev/bin/pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable ".[dev]"
	touch $@
