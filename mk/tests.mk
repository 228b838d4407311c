# Test rings. tests/unit: CUnit, no root. tests/bpf: BPF_PROG_TEST_RUN tables
# (root). tests/netns: network namespaces (root). Tools for the last ring are
# in tests/tools.
UNIT_SRC := $(wildcard tests/unit/*.c)
UNIT_OBJ := $(call objects,$(UNIT_SRC))
TOOL_COMMON := $(call objects,$(wildcard tests/tools/common/*.c))
$(UNIT_OBJ): INC := -Iinclude -Iagent -Itests/unit -Itests/tools
$(BUILD)/tests/unit-tests: $(UNIT_OBJ) $(TOOL_COMMON) $(AGENT_LIB) $(LIB)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcunit -lssl $(AGENT_LIBS) -lm
-include $(UNIT_OBJ:.o=.d)

BPFTEST_OBJ := $(call objects,$(wildcard tests/bpf/*.c) tests/unit/main.c)
$(filter $(BUILD)/tests/bpf/%,$(BPFTEST_OBJ)): INC := -Iinclude -Iagent -Itests/unit -I$(BUILD)/bpf
$(BPFTEST_OBJ): | $(BPF_SKEL)
$(BUILD)/tests/bpf-tests: $(BPFTEST_OBJ) $(AGENT_LIB) $(LIB)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcunit $(AGENT_LIBS)
-include $(BPFTEST_OBJ:.o=.d)

# agent/net against a real kernel: the program moves into namespaces of its own before anything else (root).
NETTEST_OBJ := $(call objects,$(wildcard tests/netns/net/*.c) tests/unit/main.c)
$(filter $(BUILD)/tests/netns/net/%,$(NETTEST_OBJ)): INC := -Iinclude -Iagent -Itests/unit
$(BUILD)/tests/net-tests: $(NETTEST_OBJ) $(AGENT_LIB) $(LIB)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcunit $(AGENT_LIBS)
-include $(NETTEST_OBJ:.o=.d)

# Tools: one program per file of tests/tools, common parts in tests/tools/common.
TOOL_SRC := $(wildcard tests/tools/*.c)
TOOLS := $(patsubst tests/tools/%.c,$(BUILD)/tools/%,$(TOOL_SRC))
$(call objects,$(TOOL_SRC)) $(TOOL_COMMON): INC := -Iinclude -Itests/tools
$(BUILD)/tools/%: $(BUILD)/tests/tools/%.o $(TOOL_COMMON) $(LIB)
	@mkdir -p $(@D)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ -ljansson $(LIB_LIBS) -lm
-include $(wildcard $(BUILD)/tests/tools/*.d $(BUILD)/tests/tools/common/*.d)

.PHONY: check check-unit check-bpf check-net check-netns check-netns-long tools
tools: $(TOOLS) ## test and measuring tools (replayer, wire observer, ...)
check: ## everything this machine can test (scripts/check)
	scripts/check
check-unit: $(BUILD)/tests/unit-tests ## CUnit tests, no root
	$<
check-bpf: $(BUILD)/tests/bpf-tests ## BPF_PROG_TEST_RUN tables, root
	$<
check-net: $(BUILD)/tests/net-tests ## links, routes, rules, qdiscs, tunnels, iptables in a private namespace, root
	$<
check-netns: all tools ## network namespace tests, root
	tests/netns/run
check-netns-long: all tools ## check-netns with long transfers and whole sessions, root
	NETNS_TEST_TIMEOUT=1800 TG_LONG=1 tests/netns/run
