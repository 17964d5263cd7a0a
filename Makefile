# Everything a person needs, on a machine with python3 and make. PYTHON chooses the interpreter, ARGS goes to the command,
# SEED is for `make year`.
PYTHON ?= python3
ARGS ?=
SEED ?= 1
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test year attacks fuzz voices backup restore lint sbom scan contracts rules lock
.PHONY: environment broker pooler prometheus

help: ## show this list
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
	@echo '  Arguments: make run ARGS="--port 9000 --reset", make test ARGS="tests/unit -k quota"'

run: environment ## the whole product on 127.0.0.1:8787, data in ./.data; Ctrl-C stops it
	@exec $(BIN)/python -m embedded $(ARGS)

test: environment broker pooler prometheus ## every test, against real PostgreSQL, S3 and RabbitMQ
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

attacks: environment broker ## the tests of every known attack on tokens and their carriage, and the table of them
	@$(BIN)/pytest -m attack -q $(ARGS)

fuzz: environment ## plays the running product against its published API for some minutes, and sums up
	@$(BIN)/python -m tests.fuzz.run $(ARGS)

year: environment ## a year of 500 people's subscriptions, with faults; SEED="1..3 7" for several years
	@$(BIN)/python -m tests.year --seed $(SEED) $(ARGS)

backup: environment ## writes a backup of BACKUP_DATABASE_URL to ./backups; ARGS="FOLDER --keep 14"
	@$(BIN)/python -m backup create $(ARGS)

restore: environment ## restores a backup into the empty RESTORE_DATABASE_URL; ARGS="backups/2026-11-26T03-00-00Z"
	@$(BIN)/python -m backup restore $(ARGS)

voices: environment ## fetches the kokoro speech engine, 96 MB, for MEDIA_SPEECH=kokoro
	@$(PYTHON) deploy/setup/voices.py

lint: environment ## style, types, import rules, Docker and Kubernetes files, templates for AWS, workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@$(BIN)/python deploy/setup/docker_files.py
	@$(BIN)/python deploy/setup/kubernetes_files.py
	@$(BIN)/python deploy/setup/cloud_files.py

sbom: environment ## what each image is made of, CycloneDX, into .data/sbom
	@$(BIN)/python deploy/setup/sbom.py $(ARGS)

scan: environment ## known holes in the locked packages, and secrets in files
	@$(BIN)/python deploy/setup/scan.py

contracts: environment ## the papers made from the code: events, APIs, settings; refuses to break a published event
	@$(BIN)/python deploy/setup/contracts.py

rules: environment ## the alert rules of deploy/observability/slos.yml, and the dashboards, made anew
	@$(BIN)/python deploy/observability/generate.py

lock: environment ## renew requirements.lock, the images' lists and the toolbox's; ARGS="--upgrade NAME" moves a version
	@$(PYTHON) deploy/setup/lock.py $(ARGS)

environment:
	@$(PYTHON) deploy/setup/environment.py

broker:
	@$(PYTHON) deploy/setup/rabbitmq.py

pooler:
	@$(PYTHON) deploy/setup/pgbouncer.py

prometheus:
	@$(PYTHON) deploy/setup/prometheus.py
