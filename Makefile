# Two commands do everything: `make study` and `make test`.

PYTHON ?= python3
STUDY ?= demo
TEXT ?= keep
SHARDS ?= 1
PROFILE ?=
BIN := .venv/bin
quoted = '$(subst ','\'',$(1))'
INSTALLED := .venv/.installed
# As a path: another package may leave a folder named lib beside it, which setuptools' finder would come after.
EDITABLE := --config-settings editable_mode=compat -e

.PHONY: study status plan register source export archive verify test lint bench extras cluster models lab clean

export IMPORT_ROOT := $(ROOT)

study: $(INSTALLED)  ## run the study: texts, surprisal, metrics, comparisons, reports, the paper
	@$(BIN)/python -m lib.running.study $(call quoted,$(STUDY)) --shards $(call quoted,$(SHARDS)) --profile $(call quoted,$(PROFILE))

status: $(INSTALLED)  ## what of the study is done, stale or missing, and why
	@$(BIN)/python -m lib.running.status $(call quoted,$(STUDY))

plan: $(INSTALLED)  ## what the study would find, before it runs and what it costs (PILOT=a finished study, PROMPTS=how many, SPEEDS=yes)
	@$(BIN)/python -m lib.running.plan $(call quoted,$(STUDY)) $(if $(PILOT),--pilot $(call quoted,$(PILOT))) $(if $(PROMPTS),--prompts $(call quoted,$(PROMPTS))) $(if $(SPEEDS),--speeds)

register: $(INSTALLED)  ## fix the study's hypotheses, sources, samples and margins in a file, before the run
	@$(BIN)/python -m lib.running.register $(call quoted,$(STUDY))

source: $(INSTALLED)  ## declare one's own texts (NAME=mine FOLDER=~/my-texts) or model (NAME=mine MODEL=...)
	@$(BIN)/python -m lib.running.declare $(call quoted,$(NAME)) $(if $(FOLDER),--folder $(call quoted,$(FOLDER))) $(if $(MODEL),--model $(call quoted,$(MODEL))) \
		$(if $(CLASS),--class $(call quoted,$(CLASS))) $(if $(SERVED),--served $(call quoted,$(SERVED)))

export: $(INSTALLED)  ## a finished study as CSV with a dictionary and an R script, in exports/ (WITH="tokens words" for those, too)
	@$(BIN)/python -m lib.running.export $(call quoted,$(STUDY)) $(if $(WITH),--with $(WITH))

archive: $(INSTALLED)  ## a finished study as one RO-Crate for OSF or Zenodo, in archives/ (TEXT=hash leaves the texts out)
	@$(BIN)/python -m lib.running.archive make $(call quoted,$(STUDY)) --text $(call quoted,$(TEXT))

verify: $(INSTALLED)  ## whether an archive is whole, and in what a rerun here would differ (ARCHIVE=archives/demo.zip)
	@$(BIN)/python -m lib.running.archive verify $(call quoted,$(ARCHIVE))

test: $(INSTALLED)  ## run the tests
	@$(BIN)/python -m pytest --numprocesses auto --dist load --maxschedchunk 1

lint: $(INSTALLED)  ## check style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

extras: $(INSTALLED)  ## install what adapters, quantised weights, GGUF models and servers need (llama.cpp is compiled: a C++ compiler, some minutes)
	@$(BIN)/python -m pip install --quiet -c requirements.lock -c requirements-extras.lock $(EDITABLE) ".[adapters,gguf,quantised,server]"
	@$(BIN)/python -m lib.backends.llama_cpp_probe || { \
		echo "Building llama.cpp once more, portably."; \
		CMAKE_ARGS="$$($(BIN)/python -m lib.backends.llama_cpp_probe --portable)" $(BIN)/python -m pip install --quiet \
			--force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python -c requirements-extras.lock llama-cpp-python \
		&& $(BIN)/python -m lib.backends.llama_cpp_probe; }

cluster: $(INSTALLED)  ## install what PROFILE=slurm needs
	@$(BIN)/python -m pip install --quiet -c requirements.lock -c requirements-extras.lock $(EDITABLE) ".[cluster]"

bench: $(INSTALLED)  ## measure speed and memory (installs the engines that it compares with)
	@$(BIN)/python -m pip install --quiet -c requirements.lock -c requirements-extras.lock $(EDITABLE) ".[bench,gguf]"
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

models: $(INSTALLED)  ## train the demo models from scratch (hours)
	@$(MAKE) --no-print-directory -f training/models.mk PYTHON="$(BIN)/python"

lab: $(INSTALLED)  ## open the notebooks in JupyterLab
	@$(BIN)/python -m pip install --quiet -c requirements.lock -c requirements-extras.lock $(EDITABLE) ".[lab]"
	@$(BIN)/jupyter lab notebooks

clean:  ## remove what runs made; the demo models and your texts stay
	rm -rf rendered _site .snakemake .quarto build
	rm -rf data/documents data/texts data/surprisals data/words data/uid data/compare data/earlier

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it with make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(EDITABLE) .
	@touch $@
