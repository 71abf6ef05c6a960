# SPDX-License-Identifier: Apache-2.0
# Everything starts from `make setup`, which the others do by themselves.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The tools of .venv come first on PATH; the user's own cluster and collections are never picked up by accident.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.ansible/collections
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Debian's own rather than another that is first on PATH: apt's python3-venv belongs to it.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/)python3
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
LINK := .ansible/collections/ansible_collections/ecosystem_edge/accelerator
RUN := .venv/bin/python tests/phases.py

.PHONY: help setup demo check test soak bench down clean

help:
	@echo "make demo    the main job on the lab cluster: 15 min the first time, 5 min after (2 cores, no KVM)"
	@echo "             another cluster: make demo CLUSTER=/path/to/kubeconfig ARGS='-e @my.yml' (asks first; YES=1 does not)"
	@echo "make check   lint, sanity, unit and API tests, no lab: 6 min the first time, 3 min after"
	@echo "make test    check, and a new lab (a demo's goes): 90 min the first time, 75 min after"
	@echo "make soak    the long counts, per-role scenarios, on a new lab: hours"
	@echo "make bench   benchmarks that need no lab, beside yardsticks, as root: 1 min"
	@echo "make down    stops the lab; make clean also removes .venv and build output (the cache stays)"

setup: .venv/.ready $(LINK)

# Debian splits venv from python3; a fresh machine has neither package lists nor python3-venv.
.venv/.ready: requirements.txt requirements-dev.txt
	@echo "setup: Python tools into .venv (about 600 MB, 1 to 4 minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "setup: $$($(PYTHON) --version) found, 3.11 or newer needed (Debian 12 has it): apt-get install python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(SUDO) apt-get -q update && $(SUDO) apt-get -q -y install python3-venv; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --prefer-binary -r requirements-dev.txt
	@touch $@

# The oldest ansible-core that meta/runtime.yml promises; CI runs site.yml's check mode with it.
.venv-2.18/.ready: requirements.txt
	$(PYTHON) -m venv .venv-2.18
	.venv-2.18/bin/python -m pip install --quiet --disable-pip-version-check --prefer-binary ansible==11.13.0 -r requirements.txt
	@touch $@

# The checkout under its collection's name, and the collection that its modules' documentation extends.
$(LINK): .venv/.ready
	@mkdir -p $(dir $@)
	@ln -sfn "$$(.venv/bin/python -c 'import ansible_collections as c; print(list(c.__path__)[0])')/kubernetes" $(dir $@)../kubernetes
	@ln -sfn ../../../.. $@

demo: setup
	@$(RUN) demo $(if $(CLUSTER),--cluster '$(CLUSTER)') $(if $(YES),--yes) -- $(ARGS)

check test soak: setup
	@$(RUN) $@

bench: setup
	@$(MAKE) --no-print-directory -C files/device_plugin bench

down: setup
	@lab/lab down

clean: down
	rm -rf build .venv .venv-* .ansible
