# Everything a new machine needs is Python 3.11 or 3.12, git and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup quickstart real test lint typed docs gpu chaos benchmarks gpu-benchmarks clean

setup: .venv/.installed

# uv resolves in seconds where it can be had; pip does the same in minutes. UV_FIND_LINKS lets uv see the folder that
# pip already knows, so that both take a CPU build of torch lying there. Bytecode is compiled here, not at the first run.
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	if $(BIN)/pip install -q uv 2>/dev/null; then \
	  DS_BUILD_OPS=0 UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
	  DS_BUILD_OPS=0 $(BIN)/pip install -q -c constraints.txt -e '.[dev]'; \
	fi
	touch $@

quickstart: setup
	$(BIN)/featherbench run quickstart
	@echo "Open runs/quickstart/report/index.html"

# The same with SmolLM2-135M, which is fetched and converted once: about ten minutes on two cores.
real: setup
	$(BIN)/featherbench run real
	@echo "Open runs/real/report/index.html"

# One thread per worker: the test models are tiny. Real-model tests prepare the backbone themselves.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations=10

# The folders below one package, as they are imported: for tools that read the sources and follow no installed package.
typed:
	mkdir -p build/typed/featherbench
	for part in backbones harness methods tasks reports; do ln -sfn ../../../$$part build/typed/featherbench/$$part; done

lint: setup typed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=build/typed $(BIN)/mypy --namespace-packages --explicit-package-bases -p featherbench.backbones -p featherbench.harness -p featherbench.methods -p featherbench.tasks -p featherbench.reports

# The site of the documentation, in build/site; its reference is read from the sources.
docs: setup typed
	$(BIN)/pip install -q -c constraints.txt -e '.[docs]'
	$(BIN)/python docs/reference_pages.py docs/reference
	$(BIN)/zensical build --strict --clean
	@echo "Open build/site/index.html; its search needs a server: python -m http.server -d build/site"

gpu: setup
	$(BIN)/python -m pytest -m gpu

# Workers, nodes and drivers killed ten times each, on a cluster of three nodes on this machine: about half an hour.
chaos: setup
	FEATHERBENCH_CHAOS=10 $(BIN)/python -m pytest tests/test_chaos.py -s

# Our side beside the plain or the peer's, in turn, as JSON.
benchmarks: setup
	$(BIN)/pip install -q -c constraints.txt peft
	mkdir -p build
	for part in packing frozen decoding scoring overhead scale grid; do $(BIN)/python benchmarks/$$part.py > build/$$part.json && cat build/$$part.json; done

# The rows of docs/results/speed that need a CUDA device.
gpu-benchmarks: setup
	$(BIN)/pip install -q -c constraints.txt peft
	$(BIN)/python benchmarks/on_gpu.py --out build/gpu

clean:
	rm -rf .venv build dist *.egg-info
