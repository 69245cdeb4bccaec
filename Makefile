# kon: everything a newcomer needs, without root. Runs with GNU make 3.81 (macOS) and later.

# The interpreter that .venv is made with: `make setup PYTHON=python3.13`. Left empty, the first of these that is new enough.
PYTHON ?=
CANDIDATES = python3 python3.14 python3.13 python3.12 python3.11

# Passed on to the program that the target runs: `make run ARGS='-e experiment=workloads/my.yml'`, `make test ARGS='-k lease'`.
ARGS ?=

# Processes for all cores (tests/conftest.py says how many). Each has its share of the tests in one piece, mostly, as tests of a file
# share what they have started; who is done early takes over from another. `make test ARGS='-n 0 ...'`: all in one process.
PYTEST = pytest -n auto --dist worksteal

# What `make check` runs after `make test`: tests that take seconds each.
LONG = long and not slow and not fleet

# A machine that others use too may let a test wait for too long. What fails alone, with the machine to itself, fails.
AGAIN = The tests that failed, named above, are run again, one at a time.

# The version of uv that `make lock` resolves with, in a virtualenv of its own.
UV = uv>=0.9

# Ansible's collections; ansible.cfg names it too.
COLLECTIONS = .cache/collections

SHELL = /bin/sh
BIN = .venv/bin
PEERS = .cache/bench-aws
FILMERS = .cache/bench-looks
BENCH = .venv/.bench-installed
RUNTIME = .venv/.runtime-installed
DEV = .venv/.dev-installed

# A virtualenv holds absolute paths and a link to its interpreter. When the checkout has moved or that interpreter is gone it is made anew.
STALE := $(shell if [ -f .venv/.place ] && ! { [ "$$(cat .venv/.place)" = "$$(pwd -P)" ] && .venv/bin/python -c ''; } 2>/dev/null; then echo stale; fi)

# Ansible and what it starts find the virtualenv's programs first, and keep their files in the project, not in the home folder.
PROJECT_ENV = PATH="$(CURDIR)/$(BIN):$$PATH" \
	ANSIBLE_CONFIG="$(CURDIR)/ansible.cfg" \
	ANSIBLE_HOME="$(CURDIR)/.cache/ansible"

# The "remote" side of a play on this machine would use the home folder too. Its programs are left there only when the path of
# the checkout has a space in it: Ansible cannot start an async task from such a path.
LOCAL_ENV = ANSIBLE_ASYNC_DIR="$(CURDIR)/.cache/ansible/async" \
	$(if $(word 2,$(CURDIR)),,ANSIBLE_REMOTE_TMP="$(CURDIR)/.cache/ansible/tmp")

# A newcomer wants to see what is done, how long that takes, and what went wrong, in lines that fit the terminal.
BRIEF = ANSIBLE_CALLBACK_PLUGINS="$(CURDIR)/playbooks/callback_plugins" ANSIBLE_STDOUT_CALLBACK=steps \
	ANSIBLE_DISPLAY_OK_HOSTS=false ANSIBLE_DISPLAY_SKIPPED_HOSTS=false
FIT = if [ -t 1 ]; then width=$$(stty size 2>/dev/null <&3 | cut -d " " -f 2); if [ "$${width:-0}" -ge 20 ]; then export KON_TABLE_WIDTH="$$width"; fi; fi 3>&1

# Ansible refuses a locale that is not UTF-8. Without LC_ALL=C, Python turns a C locale into a UTF-8 one by itself.
ifneq ($(filter C POSIX,$(LC_ALL)),)
unexport LC_ALL
endif

.PHONY: help setup run test check lock map docs guarantees bench bench-aws bench-looks mutants soak collections lab-tools browser-tools photos test-fleet test-python try-fleet lab-16 clean stale
.DEFAULT_GOAL := help
# `make -j run test` would otherwise start two installations into one virtualenv.
.NOTPARALLEL:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' Makefile

setup: $(DEV) ## make .venv with the locked dependencies, those of the tests and checks included
	@echo "ready: $(BIN)/kon"

run: $(RUNTIME) ## run the quickstart on this machine through Ansible
	@$(FIT); $(PROJECT_ENV) $(LOCAL_ENV) $(BRIEF) ansible-playbook -i inventory/local.yml playbooks/run.yml $(ARGS)
	@$(if $(ARGS),,$(NEXT))

test: $(DEV) $(COLLECTIONS)/.there ## run the tests, all but the long ones
	@$(PROJECT_ENV) $(PYTEST) $(ARGS)

check: $(DEV) $(COLLECTIONS)/.there ## what CI runs: linters, types, `make test`, the long tests; those that fail once more, one at a time
	@$(LINT)
	@$(TESTS)

map: $(DEV) ## show the rooms of kon/: floors, files, lines, imports
	@$(BIN)/python -m tests.house $(ARGS)

docs: $(DEV) ## build the pages of docs/ as a site, .cache/site
	@$(PROJECT_ENV) mkdocs build --strict -f docs/site/mkdocs.yml
	@echo "built: .cache/site/index.html"

guarantees: $(DEV) ## search for schedules that break promises, and write docs/guarantees.md (SEEDS=1000 of each strategy)
	@$(PROJECT_ENV) python -m docs.site.guarantees --seeds $(or $(SEEDS),1000) $(ARGS)

bench: $(DEV) $(BENCH) ## measure kon against its peers, side by side
	@$(PROJECT_ENV) python -m benchmarks $(ARGS)

bench-aws: $(DEV) $(PEERS)/.installed ## measure kon on AWS's services, on an emulator, against its peers
	@$(PROJECT_ENV) python -m benchmarks --aws $(ARGS)

bench-looks: $(DEV) $(FILMERS)/.installed ## measure each look of videos against moviepy and ffmpeg's filters
	@$(PROJECT_ENV) python -m benchmarks.looks $(ARGS)

mutants: $(DEV) ## change the source in one place at a time, and see what no test and no search finds (MUTANTS=150, ARGS='--only kon/engine/client.py --jobs 2')
	@$(PROJECT_ENV) python -m tests.mutants $(if $(MUTANTS),--count $(MUTANTS)) $(ARGS)

soak: $(DEV) $(COLLECTIONS)/.there ## run the long tests: many kills, many seeds (SEEDS=50000 schedules of each strategy)
	@$(PROJECT_ENV) pytest -m 'slow and not fleet' --timeout 0 $(ARGS)

collections: $(RUNTIME) ## from Ansible Galaxy: what the playbooks for EC2 need
	@$(PROJECT_ENV) ansible-galaxy collection install --requirements-file collections/requirements.yml --collections-path $(COLLECTIONS)

test-fleet: $(DEV) $(COLLECTIONS)/.there ## as root, on Linux: a fleet of real hosts on this machine, from provision to teardown
	@$(PROJECT_ENV) python -m tests.lab.halves $(ARGS)

test-python: $(DEV) ## as root, on Linux: the quick half of the tests on Debian 13's Python, 3.13 (SUITE=forky: 3.14)
	@$(PROJECT_ENV) python -m tests.lab.pythons $(or $(SUITE),trixie) $(if $(ARGS),-- $(ARGS))

try-fleet: $(DEV) $(COLLECTIONS)/.there ## a fleet's day on emulators: no account, no root, two minutes
	@$(PROJECT_ENV) python -m tests.lab.try_fleet

lab-16: $(DEV) $(COLLECTIONS)/.there ## as root, on Linux: 1 to 16 hosts on this machine, measured; writes docs/fleet-lab.md
	@$(PROJECT_ENV) python -m tests.lab -- python -m tests.lab.sixteen

photos: $(DEV) ## real photos, out of packages on PyPI, for the benchmarks of videos and copies; into .cache/photos
	@$(PROJECT_ENV) python -m benchmarks.photos $(ARGS)

browser-tools: ## as root, on Debian or Ubuntu: the browsers, ffmpeg and openh264 that tests play videos in
	apt-get install -y --no-install-recommends chromium ffmpeg libopenh264-dev
	apt-get install -y --no-install-recommends firefox-esr || apt-get install -y --no-install-recommends firefox

lab-tools: ## as root, on Debian or Ubuntu: what `make test-fleet` and `make test-python` need
	apt-get install -y --no-install-recommends debootstrap iproute2 openssh-client util-linux

lock: ## resolve the dependencies anew and write all lock files (UPGRADE=--upgrade takes newer versions)
	@test -x .cache/uv/bin/uv || { "$(or $(PYTHON),python3)" -m venv .cache/uv && .cache/uv/bin/python -m pip install --quiet '$(UV)'; }
	@$(LOCK) --group build --extra controller --extra live --extra metrics --output-file requirements.lock >/dev/null
	@$(LOCK) --group build --group dev --all-extras --constraint requirements.lock --output-file requirements-dev.lock >/dev/null
	@$(RESOLVE) --no-config --group bench --constraint requirements-dev.lock --output-file requirements-bench.lock >/dev/null
	@$(RESOLVE) --no-config --group bench-aws --output-file requirements-bench-aws.lock >/dev/null
	@$(RESOLVE) --no-config --group bench-looks --output-file requirements-bench-looks.lock >/dev/null

RESOLVE = .cache/uv/bin/uv --cache-dir .cache/uv/cache pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(UPGRADE)
LOCK = $(RESOLVE) pyproject.toml

clean: ## remove .venv and all that was built or cached
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .ansible build dist kon.egg-info cloudkon.egg-info
	find kon strategies tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +

# --- the collections ---------------------------------------------------------------------------------------------------------------

# Tests and checks take the same versions from PyPI, so that they need no Galaxy.
$(COLLECTIONS)/.there: collections/requirements.yml tests/lab/unpack_collections.py | $(DEV)
	@$(BIN)/python -m tests.lab.unpack_collections $(COLLECTIONS)
	@touch $@

# --- the linters ------------------------------------------------------------------------------------------------------------------

# mypy and ansible-lint take half a minute each, of one core: they run side by side. All have their say, whatever the others found.
define LINT
mkdir -p .cache; export $(PROJECT_ENV); \
mypy >.cache/mypy.txt 2>&1 & mypy=$$!; \
trap 'kill $$mypy 2>/dev/null; exit 130' INT TERM; \
found=0; \
ruff check . || found=1; \
ruff format --check . || found=1; \
yamllint --strict . || found=1; \
ansible-lint --offline || found=1; \
wait $$mypy || found=1; \
cat .cache/mypy.txt; \
exit $$found
endef

# --- the tests of `make check` -----------------------------------------------------------------------------------------------------

# Exit code 1: tests failed. 5: none was chosen, which options in ARGS may well do to the long ones.
define TESTS
export $(PROJECT_ENV); failed=; \
$(PYTEST) $(ARGS) || { code=$$?; [ $$code = 1 ] && failed=yes || exit $$code; }; \
$(PYTEST) -m '$(LONG)' $(ARGS) || { code=$$?; [ $$code = 1 ] && failed=yes || $(if $(ARGS),[ $$code = 5 ] ||) exit $$code; }; \
if [ -n "$$failed" ]; then \
	echo "$(AGAIN)"; pytest -n 0 -m 'not slow and not fleet' --last-failed --last-failed-no-failures none; \
fi
endef

# --- the virtualenv ---------------------------------------------------------------------------------------------------------------

# After the quickstart.
define NEXT
echo; echo 'Next, after `. .venv/bin/activate`, which puts kon on your path:'; \
echo '  kon explain --duplicates compare-lease-w4-r1   # tasks that came twice'; \
echo '  kon report results/quickstart                  # a page for a browser'; \
echo '  kon init first; cd first; kon run experiment.yml   # one of your own'
endef

# Compiled here once: the tests' processes would each do it at their first start, for a minute and a half together. Some libraries
# ship files that are no Python of this version.
# The dev lock names the same versions as the runtime lock and more, so that it does for both.
$(DEV): requirements-dev.lock requirements.lock pyproject.toml $(STALE)
	@$(MAKE_VENV)
	@$(call INSTALL,requirements-dev.lock)
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib kon || true
	@touch $(RUNTIME) $(DEV)

$(RUNTIME): requirements.lock pyproject.toml $(STALE)
	@$(MAKE_VENV)
	@$(call INSTALL,requirements.lock)
	@touch $(RUNTIME)

stale:
	@echo "the checkout or its Python has moved: making .venv anew"
	@rm -rf .venv

# Debian splits ensurepip off into python3-venv; without it `import venv` still works, but the virtualenv would have no pip.
define MAKE_VENV
set -e; \
if [ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1; then exit 0; fi; \
new_enough='import sys; sys.exit(sys.version_info < (3, 11))'; \
for python in $(if $(PYTHON),"$(PYTHON)",$(CANDIDATES)) ''; do \
	if [ -n "$$python" ] && "$$python" -c "$$new_enough" 2>/dev/null; then break; fi; \
done; \
if [ -z "$$python" ]; then \
	echo "kon needs Python 3.11 or newer; tried: $(if $(PYTHON),$(PYTHON),$(CANDIDATES))." >&2; \
	for python in $(if $(PYTHON),"$(PYTHON)",$(CANDIDATES)); do \
		command -v "$$python" >/dev/null 2>&1 && echo "  $$python is $$("$$python" --version 2>&1 | tail -n 1)" >&2; \
	done; \
	echo "Name one that is: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 2; \
fi; \
if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then \
	echo "$$python cannot make virtualenvs: its venv or ensurepip module is missing." >&2; \
	echo "Debian and Ubuntu have them in the package python3-venv. Or name another: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 2; \
fi; \
echo "making .venv with $$("$$python" --version)"; \
mkdir -p .venv; pwd -P > .venv/.place; \
"$$python" -m venv .venv
endef

$(BENCH): requirements-bench.lock | $(DEV)
	@echo "installing requirements-bench.lock"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@

# kon's peers pin another botocore than kon's emulator: they get a virtualenv of their own, and kon is not in it.
$(PEERS)/.installed: requirements-bench-aws.lock | $(DEV)
	@echo "installing requirements-bench-aws.lock into $(PEERS)"
	@$(BIN)/python -m venv --clear $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench-aws.lock
	@touch $@

$(FILMERS)/.installed: requirements-bench-looks.lock | $(DEV)
	@echo "installing requirements-bench-looks.lock into $(FILMERS)"
	@$(BIN)/python -m venv --clear $(FILMERS)
	@$(FILMERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench-looks.lock
	@touch $@

# Nothing is fetched that the lock does not name by hash: setuptools, which builds kon, is in the lock as well.
# The distribution was called kon before; two of them would name each strategy twice.
# editable_mode=compat: one line in a .pth file in place of an import hook, which costs every worker process at its start.
define INSTALL
set -e; \
began=$$(date +%s); \
echo "installing $(1)"; \
: >.venv/install.log; \
$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --no-compile --require-hashes -r $(1) \
	>.venv/install.log 2>&1 & pip=$$!; \
trap 'kill $$pip 2>/dev/null; exit 130' INT TERM; \
while kill -0 $$pip 2>/dev/null; do \
	if [ -t 1 ]; then printf '\r  %s packages collected, %s s ' "$$(grep -c '^Collecting' .venv/install.log)" $$(($$(date +%s) - began)); fi; \
	sleep 1; \
done; \
if [ -t 1 ]; then printf '\r\033[K'; fi; \
wait $$pip || { grep -v '^ *\(Collecting\|Downloading\|Using\)' .venv/install.log >&2; exit 1; }; \
trap - INT TERM; \
$(BIN)/python -m pip uninstall --quiet --yes --disable-pip-version-check kon 2>/dev/null; \
$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --config-settings editable_mode=compat -e .; \
rm -rf cloudkon.egg-info; \
echo "installed kon and $$(grep -c '^Collecting' .venv/install.log) more packages in $$(($$(date +%s) - began)) s; .venv has $$(du -sm .venv | cut -f 1) MB"
endef
