# TensorGuard. The work is in mk/*.mk; `make help` lists the targets.
# Variants: CC=clang, SANITIZE=1, BUILD=dir, V=1.
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:

include mk/config.mk
include mk/lib.mk
include mk/bpf.mk
include mk/agent.mk
include mk/platform.mk
include mk/tests.mk
include mk/tgsp.mk
include mk/vm.mk
include mk/fuzz.mk
include mk/bench.mk
include mk/attack.mk
include mk/lint.mk
include mk/install.mk
