# bpf/NAME.bpf.c -> build/bpf/NAME.bpf.o -> build/bpf/NAME.skel.h
BPF_SRC := $(wildcard bpf/*.bpf.c)
BPF_SKEL := $(patsubst bpf/%.bpf.c,$(BUILD)/bpf/%.skel.h,$(BPF_SRC))
BPF_ARCH := $(shell uname -m | sed 's/x86_64/x86/; s/aarch64/arm64/; s/riscv64/riscv/; s/armv.*/arm/')
# clang -target bpf does not search the multi-arch folder that holds asm/types.h
BPF_SYS := $(addprefix -idirafter ,$(wildcard /usr/include/$(shell $(CC) -print-multiarch 2>/dev/null || uname -m)))
BPF_CFLAGS := -g -O2 -target bpf -mcpu=v2 -D__TARGET_ARCH_$(BPF_ARCH) -Wall -Wextra -Werror -Wshadow -Wno-unused-parameter

BPF_TMP := $(BPF_SKEL:.skel.h=.tmp.bpf.o)
BPF_OBJ := $(BPF_SKEL:.skel.h=.bpf.o)

# static pattern rules: the general rule for .c files must not take these
$(BPF_TMP): $(BUILD)/bpf/%.tmp.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$(call quiet,BPF)$(CLANG) $(BPF_CFLAGS) -Iinclude/shared $(BPF_SYS) -MMD -MP -c $< -o $@

$(BPF_OBJ): $(BUILD)/bpf/%.bpf.o: $(BUILD)/bpf/%.tmp.bpf.o
	$(call quiet,LINK)$(BPFTOOL) gen object $@ $<

$(BPF_SKEL): $(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(call quiet,SKEL)$(BPFTOOL) gen skeleton $< name $(subst -,_,$*)_bpf > $@

# programs of tests, loaded by tc
BPF_TEST_OBJ := $(patsubst %.bpf.c,$(BUILD)/%.bpf.o,$(wildcard tests/netns/bpf/*.bpf.c))
$(BPF_TEST_OBJ): $(BUILD)/%.bpf.o: %.bpf.c
	@mkdir -p $(@D)
	$(call quiet,BPF)$(CLANG) $(BPF_CFLAGS) -Iinclude/shared $(BPF_SYS) -MMD -MP -c $< -o $@

-include $(wildcard $(BUILD)/bpf/*.d) $(BPF_TEST_OBJ:.o=.d)
