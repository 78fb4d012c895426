# Every target sets up what it needs; what it runs is printed, so it can be typed without make too.
#
# Settings:  EXPERIMENT=digits  SEED=11  SEEDS=11,12,13  SPARSITY=0.98  FROM=scratch:end  TO=prune:end
#            SPACE=dense  CURVE=cubic  GPUS=8  NODES=2  PARTITION=gpu  RUN=runs/NAME  FORMAT=onnx
#            RULES=1 (set of rules that claims are judged by; those of the records by default)
#            RUNS=runs (a folder, or an export of W&B)  IMAGENET=<folder>
#            RECORDS=a/records.jsonl,b/records.jsonl (publish: records of other machines)
#            SWEEP=gap  SWEEP_ID=ENTITY/PROJECT/ID  N=2 (processes or agents at once)
#            ARGS="any further key=value"
#            VERSIONS=free (setup: leave packages as they are that fit; VERSIONS=locked undoes it)
#            PYTHON=python3 (gpu-check: use this interpreter as it is, set nothing up)  TINY=1

.DEFAULT_GOAL := help
# No file names are made of "[8,8]" or "*" in ARGS.
.SHELLFLAGS := -fc

SETUP := python3 -IS tools/environment.py
BIN := .venv/bin
# Which tests `make test` runs; continuous integration empties it.
SELECT := -m 'not slow_faults'
# Versions and hashes for every platform, and no index: each installation has its own.
LOCK = $(or $(shell command -v uv),.uv/bin/uv) pip compile -q pyproject.toml --universal \
    --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command 'make lock'
SPARSE := $(BIN)/lightning-sparse

# As one word for the shell, whatever is in it; folders as they were typed, unless all is one.
quoted = '$(subst ','\'',$(1))'
folders = $(if $(shell test -e $(quoted) && echo one),$(quoted),$(1))

# A setting that is not given is left to the configuration.
RANKS = $(strip $(if $(GPUS),trainer.accelerator=gpu trainer.devices=$(GPUS)) \
        $(if $(NODES),++trainer.num_nodes=$(NODES)) $(if $(PARTITION),slurm.partition=$(PARTITION)))
WHOLE = $(strip $(if $(EXPERIMENT),experiment=$(EXPERIMENT)) $(RANKS) \
        $(if $(SEEDS),'reproduce.seeds=[$(SEEDS)]'))
LABORATORY = $(strip $(if $(EXPERIMENT),experiment=$(EXPERIMENT)) $(RANKS) \
             $(if $(SEEDS),'laboratory.seeds=[$(SEEDS)]'))
RUN = $(strip $(if $(EXPERIMENT),experiment=$(EXPERIMENT)) $(RANKS) $(if $(SEED),seed=$(SEED)) \
      $(if $(SPARSITY),sparsity=$(SPARSITY)))
PAGE = $(if $(RULES),report.rules=$(RULES))
ARRAY = $(strip $(if $(SEEDS),'slurm.seeds=[$(SEEDS)]'))
ENDS = $(strip $(if $(FROM),$(call quoted,path.start=$(FROM))) $(if $(TO),$(call quoted,path.end=$(TO))) \
       $(if $(SPACE),path.space=$(SPACE)) $(if $(CURVE),curve=$(CURVE)) $(if $(DEGREE),path.degree=$(DEGREE)))

.PHONY: help setup reproduce laboratory slurm-laboratory pilot methods report publish readme \
        train-dense train-prune train-scratch \
        train-lottery line path slurm-train-dense slurm-train-prune slurm-train-scratch \
        slurm-train-lottery slurm-line slurm-path slurm-reproduce slurm-agents slurm-sweep \
        sweep agent sweep-local verify check-run export data-imagenet data-synthetic data-fashion bench bench-gpu \
        gpu-check bench-compare bench-page test test-faults reliability golden \
        check format clean-env lock .venv

help: ## List the targets and settings
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-19s %s\n", $$1, $$2}' Makefile
	@sed -n '/^# Settings/,/^$$/s/^# *//p' Makefile

setup: ## Make, check or repair the environment in .venv, with the versions of the lock [VERSIONS]
	@$(SETUP) $(if $(VERSIONS),--versions=$(VERSIONS))

lock: .venv ## Write the lock anew for pyproject.toml [ARGS="--upgrade"]
	$(LOCK) --extra dev -o tools/locks/packages.txt $(ARGS)
	$(LOCK) --extra dev --extra ffcv -o tools/locks/packages_and_ffcv.txt $(ARGS)

.venv:
	@$(SETUP) --quiet

reproduce: .venv ## Train, connect and judge: the paper, to runs/reproduce/report.html [EXPERIMENT SEEDS]
	$(SPARSE) reproduce $(WHOLE) $(ARGS)

laboratory: .venv ## Subspace, start or time? To runs/reproduce/laboratory/report.html [EXPERIMENT SEEDS]
	$(SPARSE) laboratory $(LABORATORY) $(ARGS)

pilot: .venv ## Tune each arm by its own objective on the pilot seeds [EXPERIMENT]
	$(SPARSE) pilot $(if $(EXPERIMENT),experiment=$(EXPERIMENT)) $(ARGS)

methods: .venv ## Tune arms, train them and set them beside each other [EXPERIMENT SEEDS]
	$(SPARSE) methods $(WHOLE) $(ARGS)

report: .venv ## Judge and draw again from records, the laboratory too; RUNS: across sweeps [EXPERIMENT RUNS RULES]
	$(SPARSE) report $(if $(RUNS),$(call quoted,report.runs=$(RUNS))) $(PAGE) $(WHOLE) $(ARGS)

publish: .venv ## Keep records, verdicts and figures under results/ [EXPERIMENT RECORDS RULES]
	$(SPARSE) publish $(if $(RECORDS),$(call quoted,report.records=[$(RECORDS)])) $(PAGE) \
	    $(if $(EXPERIMENT),experiment=$(EXPERIMENT)) $(ARGS)

readme: .venv ## Write figures and tables of claims into the pages, from results/ [EXPERIMENT RULES]
	$(SPARSE) readme $(if $(EXPERIMENT),experiment=$(EXPERIMENT)) $(PAGE) $(ARGS)

train-dense: .venv ## Train the dense network [EXPERIMENT SEED]
	$(SPARSE) train method=dense $(RUN) $(ARGS)

train-prune: .venv ## Train and prune gradually [EXPERIMENT SEED SPARSITY]
	$(SPARSE) train method=prune $(RUN) $(ARGS)

train-scratch: .venv ## Train the pruned run's mask from a new start [EXPERIMENT SEED SPARSITY]
	$(SPARSE) train method=scratch $(RUN) $(ARGS)

train-lottery: .venv ## Train the pruned run's mask from its own start [EXPERIMENT SEED SPARSITY]
	$(SPARSE) train method=lottery $(RUN) $(ARGS)

line: .venv ## Measure the straight line between two points [EXPERIMENT SEED SPARSITY FROM TO]
	$(SPARSE) line $(RUN) $(ENDS) $(ARGS)

path: .venv ## Train a curve between two points [... FROM TO SPACE CURVE]
	$(SPARSE) path $(RUN) $(ENDS) $(ARGS)

slurm-train-dense: .venv ## Submit a dense run to SLURM [... NODES GPUS PARTITION SEEDS]
	$(SPARSE) train where=slurm method=dense $(RUN) $(ARRAY) $(ARGS)

slurm-train-prune: .venv ## Submit a pruned run [... NODES GPUS PARTITION SEEDS]
	$(SPARSE) train where=slurm method=prune $(RUN) $(ARRAY) $(ARGS)

slurm-train-scratch: .venv ## Submit a scratch run, after the pruned run it needs [... NODES GPUS PARTITION SEEDS]
	$(SPARSE) train where=slurm method=scratch $(RUN) $(ARRAY) $(ARGS)

slurm-train-lottery: .venv ## Submit a lottery run, after the pruned run it needs [... NODES GPUS PARTITION SEEDS]
	$(SPARSE) train where=slurm method=lottery $(RUN) $(ARRAY) $(ARGS)

slurm-line: .venv ## Submit a straight line, after the runs it needs [... FROM TO NODES GPUS]
	$(SPARSE) line where=slurm $(RUN) $(ENDS) $(ARGS)

slurm-path: .venv ## Submit a curve, after the runs it needs [... FROM TO SPACE CURVE NODES GPUS]
	$(SPARSE) path where=slurm $(RUN) $(ENDS) $(ARGS)

slurm-reproduce: .venv ## Submit the whole experiment and its report [EXPERIMENT SEEDS NODES GPUS]
	$(SPARSE) reproduce where=slurm $(WHOLE) $(ARGS)

slurm-laboratory: .venv ## Submit the laboratory and its report [EXPERIMENT SEEDS NODES GPUS]
	$(SPARSE) laboratory where=slurm $(LABORATORY) $(ARGS)

check-run: .venv ## Would a run begin, and what would hold it up? ARM=prune [ARM EXPERIMENT SEED SPARSITY]
	$(SPARSE) check $(if $(ARM),method=$(ARM)) $(RUN) $(ARGS)

# RUN is a folder here; where it is not given, it holds the settings above.
verify: .venv ## Check what finished runs left behind: hashes, masks, counts, ids [RUN]
	$(SPARSE) verify $(if $(filter command,$(origin RUN)),$(call folders,$(RUN)),runs) $(ARGS)

export: .venv ## Write a finished run as ONNX, or its weights as CSR [RUN FORMAT EXPERIMENT]
	$(SPARSE) export $(if $(filter command,$(origin RUN)),export.run=$(RUN)) \
	    $(if $(FORMAT),export.format=$(FORMAT)) $(if $(EXPERIMENT),experiment=$(EXPERIMENT)) $(ARGS)

sweep: .venv ## Check a sweep file and register it with W&B [SWEEP EXPERIMENT]
	$(SPARSE) sweep $(if $(SWEEP),sweep.file=$(SWEEP)) $(RUN) $(ARGS)

agent: .venv ## Run points of a registered sweep [SWEEP_ID]
	$(SPARSE) agent $(if $(SWEEP_ID),sweep.id=$(SWEEP_ID)) $(ARGS)

slurm-agents: .venv ## Submit agents to SLURM, as an array [SWEEP_ID N PARTITION]
	$(SPARSE) agent where=slurm $(if $(SWEEP_ID),sweep.id=$(SWEEP_ID)) \
	    $(if $(N),sweep.num_agents=$(N)) $(RANKS) $(ARGS)

sweep-local: .venv ## Run the missing points of a sweep file, with no server [SWEEP EXPERIMENT N]
	$(SPARSE) multirun $(if $(SWEEP),sweep.file=$(SWEEP)) \
	    $(if $(N),sweep.num_processes=$(N)) $(RUN) $(ARGS)

bench: .venv ## Measure every cost against its peer, for half an hour and more [ROWS="masked_step ..."]
	$(BIN)/python -m benchmarks run $(ROWS) $(ARGS)

bench-gpu: .venv ## The same for the rows of a GPU [ROWS ARGS="--seconds 300 --budget 0.3"]
	$(BIN)/python -m benchmarks run --accelerator $(ROWS) $(ARGS)

gpu-check: $(if $(PYTHON),,.venv) ## What a GPU can tell in eight minutes; TINY=1: on a CPU [PYTHON TINY]
	$(or $(PYTHON),$(BIN)/python) tools/gpu_check.py $(if $(TINY),--tiny) $(ARGS)

bench-compare: .venv ## Set the last session against the one before: what became slower?
	$(BIN)/python -m benchmarks compare $(ARGS)

bench-page: .venv ## Write SPEED.md from the records under results/benchmarks
	$(BIN)/python -m benchmarks page $(ARGS)

data-imagenet: .venv ## Write ImageNet as .beton files [IMAGENET ARGS="out=... skip_corrupt=true"]
	$(SPARSE) data-imagenet $(if $(IMAGENET),$(call quoted,imagenet=$(IMAGENET))) $(ARGS)

data-synthetic: .venv ## Paint an ImageNet-shaped image set, as JPEGs and .beton [ARGS="num_train=2000"]
	$(SPARSE) data-synthetic $(ARGS)

data-fashion: .venv ## Fetch Fashion-MNIST, 31 MB, by Debian's and Ubuntu's package [ARGS="out=..."]
	$(SPARSE) data-fashion $(ARGS)

slurm-sweep: .venv ## Submit the missing points of a sweep file to SLURM, with no server [SWEEP]
	$(SPARSE) multirun where=slurm $(if $(SWEEP),sweep.file=$(SWEEP)) $(RUN) $(ARGS)

test: .venv ## Run the tests on all cores, but the slow ones of faults [ARGS="-k masks"]
	@$(SETUP) --quiet --test-packages
	$(BIN)/python -m pytest -n auto $(SELECT) $(ARGS)

test-faults: .venv ## Kill runs at every stage, fill disks, damage files, in every arm and on ranks
	ALL_FAULTS=1 $(BIN)/python -m pytest -n auto -m 'faults or dist' $(ARGS)

reliability: .venv ## Run them, and write RELIABILITY.md from what they find [ARGS=page]
	$(BIN)/python tools/reliability.py $(ARGS)

golden: .venv ## Write this machine's golden first losses, before a refactoring
	$(BIN)/python -m tests.golden.first_losses

check: .venv ## Check format, lint, types and import contracts
	$(BIN)/ruff format --check . && $(BIN)/ruff check .
	$(BIN)/mypy && $(BIN)/lint-imports

format: .venv ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix --exit-zero . && $(BIN)/ruff format .

clean-env: ## Remove the environment; runs and results stay
	rm -rf .venv .venv.lock .uv
