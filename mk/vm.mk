# VM ring: tests/vm under other kernels, in QEMU without KVM (scripts/vm, docs/vm.md).
KERNEL ?= newest
VM_FACTS := $(BUILD)/tests/vm/facts.bpf.o

$(VM_FACTS): tests/vm/facts.bpf.c
	@mkdir -p $(@D)
	$(call quiet,BPF)$(CLANG) $(BPF_CFLAGS) $(BPF_SYS) -c $< -o $@

.PHONY: check-vm check-vm-all
check-vm: ## the guardian on kernel WireGuard, under KERNEL=6.1 (default: the newest pinned), root
	tests/vm/run-core $(KERNEL)
check-vm-all: ## check-vm under every pinned kernel
	tests/vm/run-core all
