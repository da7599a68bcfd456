PYTHON ?= python3
CONSTRAINTS = constraints.txt
PIP_INSTALL = bin/pip install --quiet --disable-pip-version-check

.PHONY: browser frameworks run test wheel

run: .venv/run.ready  ## animate the bundled portrait with the bundled voice
	.venv/run/bin/emo-rt run --image assets/portrait.png --audio assets/voice.wav --out out/demo.mp4

test: .venv/dev.ready  ## lint, types and tests
	.venv/dev/bin/ruff check .
	.venv/dev/bin/ruff format --check .
	.venv/dev/bin/mypy
	.venv/dev/bin/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

browser: .venv/browser.ready  ## the page of the server in Debian's Chromium; `make test` leaves it out
	.venv/dev/bin/pytest tests/browser

frameworks: .venv/frameworks.ready  ## LiveKit Agents, Pipecat and Gradio show a face; `make test` leaves it out
	.venv/frameworks/bin/pytest tests/frameworks

wheel:  ## what a user without the checkout installs
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir dist .

# The runtime alone: no torch, diffusers or transformers.
.venv/run.ready: pyproject.toml
	$(PYTHON) -m venv .venv/run
	.venv/run/$(PIP_INSTALL) --no-compile --editable ".[openvino]"  # Python compiles what it imports
	touch $@

.venv/dev.ready: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv .venv/dev
	.venv/dev/$(PIP_INSTALL) "pip>=25.1"  # knows dependency groups
	.venv/dev/$(PIP_INSTALL) --no-compile --constraint $(CONSTRAINTS) --editable . --group dev
	touch $@

.venv/browser.ready: .venv/dev.ready
	.venv/dev/$(PIP_INSTALL) --constraint $(CONSTRAINTS) --group browser
	touch $@

# Without PyTorch, as a user of these frameworks has it.
.venv/frameworks.ready: pyproject.toml
	$(PYTHON) -m venv .venv/frameworks
	.venv/frameworks/$(PIP_INSTALL) "pip>=25.1"
	.venv/frameworks/$(PIP_INSTALL) --no-compile --editable ".[openvino]" --group frameworks
	touch $@
