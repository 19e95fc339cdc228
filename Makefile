# `make` lists what there is. The tools live in .venv; stamps in it make a second run instant.
#
#   PYTHON=python3.12 make test      another interpreter
#   ARGS='-k trace -x' make test     words for pytest
#   TORCH_INDEX=URL make test        where pip finds a CPU build of torch, if its own index has only the CUDA one

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
ARGS ?=
TORCH_INDEX ?=

# With the rest, so that pip does not choose another one for us. A CPU build is all that llmfs has a use for.
TORCH := torch==2.13.0

# Debian's names. pyfuse3 and bench/slowdir are compiled here.
PACKAGES := fuse3 libfuse3-dev pkg-config gcc libc6-dev python3 python3-dev python3-venv
# What the tests and benchmarks run on a mount.
TEST_PACKAGES := fio git make prometheus rsync sqlite3
# For the live page. 414 MB, a quarter of a minute; Ubuntu's package of that name is a snap, so there its tests are left
# out unless a chromium is there.
TEST_PACKAGES += $(shell . /etc/os-release 2>/dev/null && [ "$$ID" = debian ] && echo chromium)

# What stands beside llmfs in `make bench`. The benchmark leaves out what is not there, and says so.
RIVAL_PACKAGES := bindfs openssh-sftp-server rclone sshfs

# All paths are relative, for a checkout may lie where make cannot name it: spaces.
BIN := .venv/bin

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS=$$'\t' read -r target text; do
		printf '  make %-14s %s\n' "$$target" "$$text"
	done

.PHONY: demo
demo: .venv/.installed ## Run a real program from a slow directory: raw, through llmfs, cached, learned
	@$(BIN)/python -m bench.demo $(ARGS)

.PHONY: test
test: check .venv/.tests-installed ## Check, then run all tests
	@scratch=$$(mktemp -d -t llmfs-tests-XXXXXX)
	# rm, for the tests make trees too deep for Python's rmtree; a mount that one left is for its own clean-up.
	trap 'rm -rf --one-file-system "$$scratch"' EXIT
	PYTEST_DEBUG_TEMPROOT=$$scratch $(BIN)/python -m pytest $(ARGS)

.PHONY: check
check: .venv/.installed ## Lint, formatting, types, and which package may import which
	@$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet || { echo 'not formatted: see $(BIN)/ruff format --diff'; exit 1; }
	$(BIN)/mypy
	$(BIN)/mypy examples/grafana/dashboards.py
	$(BIN)/lint-imports

.PHONY: bench
bench: .venv/.installed .venv/.rivals-installed ## Measure all there is, beside rivals (hours; ARGS='--only git')
	@$(BIN)/python -m bench.matrix $(ARGS)

.PHONY: bench-quick
bench-quick: .venv/.installed .venv/.tests-installed ## Where it gains and where it costs (less than five minutes)
	@$(BIN)/python -m bench.matrix --quick --output out/quick $(ARGS)

.PHONY: bench-policies
bench-policies: .venv/.installed .venv/.tests-installed ## Costs where nothing is gained; policies, replayed (some minutes)
	@$(BIN)/python -m bench.overhead
	for workload in shuffled cyclic uniform encrypted; do
		$(BIN)/python -m bench.replay synthetic:$$workload --cache 50% --output out/replay-$$workload.json
	done
	$(BIN)/python -m bench.eviction

# Also PJDFSTEST, FSX, FSSTRESS: where these lie, built (bench/conformance.py).
.PHONY: conformance
conformance: .venv/.installed .venv/.tests-installed ## Independent test suites, on the disk and through llmfs
	@$(BIN)/python -m bench.conformance $(ARGS)

.PHONY: chaos
chaos: .venv/.installed ## Kill, exhaust, fill, and run for half an hour; ARGS=--quick for two minutes
	@$(BIN)/python -m bench.chaos $(ARGS)

# What the recorded programs need and is not there is left out, and said.
.PHONY: pretrain
pretrain: .venv/.installed .venv/.tests-installed ## Make what is shipped anew: record programs, train, judge (an hour)
	@rm -rf out/traces
	$(BIN)/python -m bench.record --output out/traces --seconds 1800
	$(BIN)/python -m predictor.shipping out/traces/*.trace --plots out/pretraining

.PHONY: screenshots
screenshots: .venv/.installed .venv/.tests-installed ## Take the documentation's pictures of page and terminal anew
	@$(BIN)/python -m bench.screenshots $(ARGS)

.PHONY: docs
docs: .venv/.installed ## Build the documentation as a site, in out/site
	@$(BIN)/python -m mkdocs build --quiet --strict
	echo out/site/index.html

.PHONY: clean
clean: ## Remove what make made: .venv, out, caches
	@rm -rf .venv out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: install
install: .venv/.installed

.venv/.installed: pyproject.toml Makefile
	@$(call debian,$(PACKAGES))
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
		echo 'llmfs needs Python 3.11 or newer, and $(PYTHON) is not: PYTHON=python3.11 make ...' >&2
		exit 1
	}
	[ -x $(BIN)/pip ] || { rm -rf .venv && $(PYTHON) -m venv .venv; }
	echo 'installing into .venv (minutes, the first time)'
	$(BIN)/python -m pip install -qq --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url '$(TORCH_INDEX)') \
		'$(TORCH)$(if $(TORCH_INDEX),+cpu)' -e '.[dev]'
	touch $@

.venv/.tests-installed: .venv/.installed
	@$(call debian,$(TEST_PACKAGES))
	touch $@

.venv/.rivals-installed: .venv/.tests-installed
	@if [ "$$(id -u)" = 0 ]; then
		$(call debian,$(RIVAL_PACKAGES))
	fi
	touch $@

# Installs the Debian packages that are missing: as root; anybody else is told the command. Other distributions have
# other names for them: `llmfs doctor` says there what is missing.
define debian
if command -v dpkg-query >/dev/null; then
	missing=
	for package in $(1); do
		case $$(dpkg-query -W -f='$${db:Status-Status}' $$package 2>/dev/null) in
			installed*) ;;
			*) missing="$$missing $$package" ;;
		esac
	done
	if [ -n "$$missing" ] && [ "$$(id -u)" != 0 ]; then
		echo "missing Debian packages: sudo apt-get install$$missing" >&2
		exit 1
	fi
	if [ -n "$$missing" ]; then
		echo "installing Debian packages:$$missing"
		export DEBIAN_FRONTEND=noninteractive
		said=$$(apt-get -q update 2>&1 && apt-get -q install -y --no-install-recommends $$missing 2>&1) || {
			echo "$$said" >&2
			exit 1
		}
	fi
fi
endef
