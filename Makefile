# Needs git, make, Python >= 3.11 with venv, and a C/C++ compiler (llama-cpp-python is compiled, about 4 minutes).
PYTHON ?= python3
PORT ?= 11434
BIN := .venv/bin

# For `make install`: where to, and the hardware the engine is compiled for (cpu, cuda, vulkan, metal or rocm).
PREFIX ?= /usr/local
DESTDIR ?=
BACKEND ?= cpu

# Tests that need more than Python: a real registry behind nginx (marked `lab`), and mounts (marked `root`).
# Those that boot a systemd (marked `systemd`) or drive other people's clients (`clients`) have targets of their own.
LAB := $(shell { command -v docker-registry && command -v openssl && PATH="$$PATH:/usr/sbin" command -v nginx; } >/dev/null || echo lab)
ROOT := $(shell test "$$(id -u)" = 0 || echo root)
LEFT_OUT := $(strip $(LAB) $(ROOT))
SELECT := -m "not ($(subst $() $(), or ,$(strip systemd clients $(LEFT_OUT))))"

.PHONY: run test test-systemd clients gpu-check lint bench conformance conversion torture endure wheels install uninstall clean

run: .venv/run.stamp
	@mkdir -p .run && test -e .run/models.yaml || cp etc/models.yaml .run/models.yaml
	@test -e .run/powerd.yaml || cp etc/powerd.yaml .run/powerd.yaml
	@$(BIN)/python -c "import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', $(PORT)))" 2>/dev/null \
		|| { echo "port $(PORT) is busy (is Ollama or another powerd running?); choose another: make run PORT=11500"; exit 78; }
	@echo "in another shell: $(BIN)/powerctl --socket .run/control.sock run demo \"What is 2 + 3?\""
	exec $(BIN)/powerd --config .run/powerd.yaml --state .run/state --socket .run/control.sock --listen 127.0.0.1:$(PORT)

test: .venv/test.stamp
	@test -z "$(LEFT_OUT)" || echo "left out on this machine: tests marked $(LEFT_OUT) (lab: install docker-registry, nginx, openssl; root: run as root)"
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadscope $(SELECT)

# Boots a real systemd in an overlay of this machine's root, in mount and process namespaces that leave nothing behind.
test-systemd:
	@$(PYTHON) -m tests.systemd.needs
	$(MAKE) .venv/test.stamp
	unshare --mount --pid --fork --kill-child=TERM --mount-proc $(BIN)/python -m pytest -m systemd tests/systemd

# Ollama's own clients, those built on them, and Open WebUI in a browser, all downloaded, against a real powerd.
clients:
	@$(PYTHON) -m tests.clients.needs
	$(MAKE) .venv/test.stamp $(addprefix .clients/,node.stamp python.stamp held_back.stamp open_webui.stamp)
	$(BIN)/python -m pytest -m clients tests/clients

# On a machine with an NVIDIA GPU and nvcc: builds the engine with CUDA beside .venv, and shows powerd on the GPU.
gpu-check: .venv/test.stamp
	$(BIN)/python -m tests.gpu

lint: .venv/lint.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/test.stamp
	$(BIN)/python -m tests.bench

# Prompts and tokens against llama.cpp's own server and test data, which are downloaded (77 MB); about a minute.
conformance: .venv/test.stamp
	$(BIN)/python -m tests.conformance

# What becomes of safetensors, against llama.cpp's converter and transformers (torch is downloaded); two minutes.
conversion: .venv/test.stamp
	$(BIN)/python -m tests.conversion

# Hundreds of edits of models.yaml under eight streaming clients; about six minutes.
endure: .venv/test.stamp
	$(BIN)/python -m tests.endure

torture: .venv/test.stamp
	$(BIN)/python -m tests.torture

# What `make install` takes: with these made first, root neither downloads nor compiles anything.
wheels:
	@PYTHON='$(PYTHON)' BACKEND='$(BACKEND)' sh .make/wheels.sh

install:
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' PYTHON='$(PYTHON)' BACKEND='$(BACKEND)' sh .make/install.sh

uninstall:
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' sh .make/uninstall.sh

clean:
	rm -rf .venv .run .bench .clients .conformance build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/base.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade pip
	touch $@

.venv/run.stamp: .venv/base.stamp
	$(BIN)/python -m pip install -q -e '.[llama]'
	touch $@

.venv/test.stamp: .venv/run.stamp
	$(BIN)/python -m pip install -q -e '.[llama,test]'
	touch $@

.venv/lint.stamp: .venv/test.stamp
	$(BIN)/python -m pip install -q -e '.[llama,test,lint]'
	touch $@

# uv, because pip cannot leave out what a package says it needs.
.clients/uv/bin/uv:
	$(PYTHON) -m venv .clients/uv
	.clients/uv/bin/python -m pip install -q uv==0.13.8

.clients/%.stamp: tests/clients/pinned/%.txt | .clients/uv/bin/uv
	@.clients/uv/bin/uv venv -q --clear --python $(PYTHON) .clients/$*
	@echo "installing $<"
	@.clients/uv/bin/uv pip install -q --python .clients/$* -r $< \
		$(addprefix --override ,$(wildcard tests/clients/pinned/$*_without.txt)) \
		|| { echo "make clients: the packages of $< could not be installed here (UV_DEFAULT_INDEX names an index)"; exit 1; }
	@touch $@

.clients/open_webui.stamp: tests/clients/pinned/open_webui_without.txt

.clients/node.stamp: tests/clients/pinned/package.json
	@mkdir -p .clients/node && cp $< .clients/node/
	@echo "installing $<"
	@cd .clients/node && npm install --silent --no-fund --no-audit || { echo "make clients: the packages of $< could not be installed here"; exit 1; }
	@touch $@
