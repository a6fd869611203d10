# The front of the CMake build, for people. `make help` lists the targets.
.DEFAULT_GOAL := help
BUILD  ?= build
VENV   ?= .venv
GEN    := $(shell command -v ninja >/dev/null 2>&1 && echo -G Ninja)
PYTHON  = -DFERRY_PYTHON=$(shell test -x $(VENV)/bin/python && echo $(abspath $(VENV))/bin/python)
CTEST   = ctest --test-dir $(BUILD) --output-on-failure -j2

.PHONY: help deps venv configure build asan demo check test conformance test-large test-convert soak fuzz coverage bench bench-export bench-optimize wheel install update-golden clean

help: ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

deps: ## print and install what is needed (Debian packages); as root or through sudo
	@tools/deps.sh

venv: ## the Python oracles of the tests (pinned in tests/requirements.txt)
	@tools/deps.sh --python $(VENV)

build: configure ## build libferry, the program ferry and the tests into ./build
	@cmake --build $(BUILD)

configure:
	@mkdir -p $(BUILD)
	@cmake -S . -B $(BUILD) $(GEN) $(PYTHON) >$(BUILD)/configure.log 2>&1 || (cat $(BUILD)/configure.log; exit 1)

asan: ## build with AddressSanitizer and UndefinedBehaviorSanitizer into ./build-asan
	@mkdir -p $(BUILD)-asan
	@cmake -S . -B $(BUILD)-asan $(GEN) -DCMAKE_BUILD_TYPE=Debug -DFERRY_SANITIZE=address,undefined -DFERRY_FUZZ_ONLY=ON >$(BUILD)-asan/configure.log 2>&1 || (cat $(BUILD)-asan/configure.log; exit 1)
	@cmake --build $(BUILD)-asan

demo: deps configure ## the main job on real data: doctor, export, check, verify, run
	@cmake --build $(BUILD) --target ferry_program fashion
	@examples/fashion/demo.sh $(BUILD)/ferry

check: build ## C tests only: offline, under two minutes
	@$(CTEST) -LE 'python|large'

test: deps venv build asan ## all tests, with oracles from PyPI and the fuzzers under sanitizers
	@$(CTEST) -LE large
	@ctest --test-dir $(BUILD)-asan --output-on-failure -j2 -L fuzz

conformance: build venv ## every case of ONNX's own backend test, from the pinned onnx package, at its tolerances and at rtol 1e-5
	@mkdir -p $(BUILD)/conformance
	@$(VENV)/bin/python -W ignore tools/onnx_cases.py $(BUILD)/conformance
	@tests/conformance/run.sh $(BUILD)/ferry $(BUILD)/conformance

test-large: build venv ## full-size ResNet-50, MobileNetV2, ViT-B/16 and BERT; makes them with PyTorch (FERRY_TORCH=python with torch)
	@tests/large/run.sh $(BUILD)/ferry

test-convert: build venv ## every case of the onnx package at eight opsets, against onnx's checker and onnxruntime (minutes)
	@$(VENV)/bin/python -W ignore tools/onnx_cases.py $(BUILD)/conformance
	@$(VENV)/bin/python -W ignore tests/python/test_convert.py $(BUILD)/tests/ferry-convert-cases $(BUILD)/conformance/*/

soak: build ## 100,000 runs of several models by several threads: the same bits, no memory lost (BUILD=build-tsan after `cmake --preset tsan`: no races)
	@FERRY_SOAK_RUNS=100000 $(BUILD)/tests/test_engines_soak

fuzz: ## libFuzzer on every reader (clang), 60 seconds each
	@fuzz/run.sh

coverage: build ## over a hundred architectures from PyTorch to ONNX, static and dynamic; writes docs/coverage.md; torchvision as TorchScript: docs/coverage-traces.md (TRACES="--only resnet18"; FERRY_TORCH, FERRY_TORCH_OLD: Pythons with torch; ARGS="--only bert,vit"; hours, goes on where it stopped)
	@$(VENV)/bin/python tests/coverage/coverage.py $(BUILD)/ferry $(ARGS)
	@$(VENV)/bin/python tests/coverage/traces.py $(BUILD)/ferry $(TRACES)

bench: build ## ferry against onnxruntime, OpenVINO, MNN, ncnn in one run (FERRY_TORCH=python with torch); ARGS=--quick for ResNet-18 alone
	@python3 bench/bench.py $(BUILD)/ferry $(ARGS)

bench-export: build ## export of ResNet-50 against torch.onnx.export in the same run (FERRY_TORCH=python with torch)
	@bench/export.sh $(BUILD)/ferry

bench-optimize: build ## ferry optimize against onnxsim, onnxslim and onnxruntime: nodes, time, error (FERRY_TORCH=python with torch)
	@bench/optimize.sh $(BUILD)/ferry

wheel: configure ## the Python package as a file, build/dist/ferry_onnx-*.whl
	@cmake --build $(BUILD) --target ferry_python
	@FERRY_BUILD=$(abspath $(BUILD)) python3 python/build_backend.py $(BUILD)/dist

install: build ## install to PREFIX (default /usr/local)
	@cmake --install $(BUILD) $(if $(PREFIX),--prefix $(PREFIX))

update-golden: build ## rewrite expected text dumps; the diff is the review
	@FERRY_UPDATE_GOLDEN=1 $(CTEST) -L golden

clean: ## remove build folders
	@rm -rf $(BUILD) $(BUILD)-asan
