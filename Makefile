# Each target does all its own set-up. See scripts/setup.sh.
SHELL := /bin/bash
.PHONY: help setup demo demo-memory test lint bench soak faults fuzz clean

help:
	@echo "make demo REAL=FOLDER [RECOGNISER=FOLDER]   map a folder of RGB-D images and ask about it"
	@echo "make demo    play a recorded room into the nodes, ask questions, draw demo_out/index.html"
	@echo "make demo-memory   two days of a robot in two rooms: killed, the rooms changed, asked about it"
	@echo "make test    run the tests, over real DDS where they need it"
	@echo "make lint    check the style and the types"
	@echo "make bench   measure speed, memory and accuracy"
	@echo "make soak    run the nodes under load for half an hour: memory, latency, questions"
	@echo "make faults  inject every known fault into running nodes"
	@echo "make fuzz    10,000 generated inputs for every decoder, parser and conversion"
	@echo "make setup   only what the others need: .venv/, build/, install/"
	@echo "make clean   remove what was built; .venv/ stays"

setup:
	@scripts/setup.sh

demo: setup
	.venv/bin/spatial3d demo $(if $(REAL),--folder $(REAL)) $(if $(DETECTIONS),--detections $(DETECTIONS)) \
		$(foreach model,$(RECOGNISER),--recogniser $(model))

demo-memory: setup
	.venv/bin/spatial3d two-days

test: setup
	. scripts/ros_env.sh && OMP_NUM_THREADS=1 python -m pytest -n logical --maxprocesses 4 --dist loadgroup

lint: setup
	.venv/bin/ruff check .
	.venv/bin/mypy

bench: setup
	.venv/bin/spatial3d bench

soak: setup
	.venv/bin/spatial3d soak

faults: setup
	.venv/bin/spatial3d faults

fuzz: setup
	. scripts/ros_env.sh && python -m pytest -m fuzz --hypothesis-profile=long

clean:
	rm -rf build install log demo_out .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
	find spatial3d_ros test -name __pycache__ -prune -exec rm -rf {} +
