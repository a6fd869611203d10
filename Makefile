.PHONY: help deps build demo check test
help:
	@echo "make help deps build demo check test"
build:
	cmake -S . -B build -G Ninja && cmake --build build
