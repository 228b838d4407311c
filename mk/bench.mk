# bench/NAME.sh measures and prints JSON lines (docs/benchmarks.md); the programs
# that it needs are bench/*.c, their BPF programs bench/bpf/*.bpf.c, which are
# the product's text (bpf/*.h) and are compiled like it.
BENCH_BIN := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))
BENCH_OBJ := $(BENCH_BIN:=.o)
BENCH_SKEL := $(patsubst %.bpf.c,$(BUILD)/%.skel.h,$(wildcard bench/bpf/*.bpf.c))

$(BENCH_SKEL:.skel.h=.tmp.bpf.o): $(BUILD)/%.tmp.bpf.o: %.bpf.c
	@mkdir -p $(@D)
	$(call quiet,BPF)$(CLANG) $(BPF_CFLAGS) -Iinclude/shared -Ibpf $(BPF_SYS) -MMD -MP -c $< -o $@
$(BENCH_SKEL:.skel.h=.bpf.o): %.bpf.o: %.tmp.bpf.o
	$(call quiet,LINK)$(BPFTOOL) gen object $@ $<
$(BENCH_SKEL): %.skel.h: %.bpf.o
	$(call quiet,SKEL)$(BPFTOOL) gen skeleton $< name $(subst -,_,$(notdir $*))_bpf > $@
-include $(wildcard $(BUILD)/bench/bpf/*.d)

$(BENCH_OBJ): INC := -Iinclude -Iagent -Iplatform -I$(BUILD)/bench -Itests/attest -Itests/tools
$(BENCH_OBJ): | $(BENCH_SKEL)
$(BUILD)/bench/attest: $(FAKE_TPM)
$(BUILD)/bench/handshakes: $(TOOL_COMMON)
$(BUILD)/bench/agents: $(TOOL_COMMON) $(PLATFORM_LIB)
$(BUILD)/bench/agents: BENCH_LIBS := $(PLATFORM_LIBS)
$(BENCH_BIN): $(BUILD)/bench/%: $(BUILD)/bench/%.o $(AGENT_LIB) $(LIB)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $(call fuzz_parts,$^) $(BENCH_LIBS) $(AGENT_LIBS)
-include $(BENCH_OBJ:.o=.d)

.PHONY: bench
bench: all tools $(BENCH_BIN) ## measure, as JSON lines, root: make -s bench NAMES="tc tunnel"
	@BUILD=$(BUILD) bench/run $(NAMES)
