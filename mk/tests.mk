# Test rings. tests/unit: CUnit, no root. tests/bpf: BPF_PROG_TEST_RUN tables
# (root). tests/netns: network namespaces (root). Tools for the last ring are
# in tests/tools.
UNIT_SRC := $(wildcard tests/unit/*.c)
UNIT_OBJ := $(call objects,$(UNIT_SRC))
# A TPM in software that lies on demand: for unit tests, fault injection, fuzzing seeds and benchmarks.
FAKE_TPM := $(call objects,tests/attest/faketpm.c)
$(FAKE_TPM): INC := -Iinclude -Itests/attest
-include $(FAKE_TPM:.o=.d)
TOOL_COMMON := $(call objects,$(wildcard tests/tools/common/*.c))
$(UNIT_OBJ): INC := -Iinclude -Iagent -Itests/unit -Itests/tools -Itests/attest
$(BUILD)/tests/unit-tests: $(UNIT_OBJ) $(FAKE_TPM) $(TOOL_COMMON) $(AGENT_LIB) $(LIB)
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

# agent/supervise: what its sandboxes refuse (run by tests/netns/test-sandbox, root).
SANDBOXTEST_OBJ := $(call objects,$(wildcard tests/sandbox/*.c) tests/unit/main.c)
$(filter $(BUILD)/tests/sandbox/%,$(SANDBOXTEST_OBJ)): INC := -Iinclude -Iagent -Itests/unit
$(BUILD)/tests/sandbox-tests: $(SANDBOXTEST_OBJ) $(AGENT_LIB) $(LIB)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcunit $(AGENT_LIBS)
-include $(SANDBOXTEST_OBJ:.o=.d)

# lib/tpm and agent/trust against a TPM: the program starts an swtpm of its own.
TPMTEST_OBJ := $(call objects,$(wildcard tests/tpm/*.c) tests/unit/main.c)
$(filter $(BUILD)/tests/tpm/%,$(TPMTEST_OBJ)): INC := -Iinclude -Iagent -Itests/unit -Itests/attest
$(BUILD)/tests/tpm-tests: $(TPMTEST_OBJ) $(FAKE_TPM) $(AGENT_LIB) $(LIB)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcunit $(AGENT_LIBS)
-include $(TPMTEST_OBJ:.o=.d)

# The verifier with memory that fails: lib's own allocations go through the test.
FAULTTEST_OBJ := $(call objects,$(wildcard tests/fault/*.c) tests/unit/main.c)
$(filter $(BUILD)/tests/fault/%,$(FAULTTEST_OBJ)): INC := -Iinclude -Itests/unit -Itests/attest
$(BUILD)/tests/fault-tests: $(FAULTTEST_OBJ) $(FAKE_TPM) $(LIB)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -Wl,--wrap=malloc -Wl,--wrap=calloc -o $@ $^ -lcunit $(LIB_LIBS)
-include $(FAULTTEST_OBJ:.o=.d)

# An attacker of enrolment, with a TPM and the honest device's own code.
IDENTITY_TEST_OBJ := $(call objects,$(wildcard tests/e2e/identity/*.c))
$(IDENTITY_TEST_OBJ): INC := -Iinclude -Iagent
$(BUILD)/tests/identity-%: $(BUILD)/tests/e2e/identity/%.o $(AGENT_LIB) $(LIB)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(AGENT_LIBS)
-include $(IDENTITY_TEST_OBJ:.o=.d)

# Tools: one program per file of tests/tools, common parts in tests/tools/common.
TOOL_SRC := $(wildcard tests/tools/*.c)
TOOLS := $(patsubst tests/tools/%.c,$(BUILD)/tools/%,$(TOOL_SRC))
$(call objects,$(TOOL_SRC)) $(TOOL_COMMON): INC := -Iinclude -Itests/tools
$(BUILD)/tools/%: $(BUILD)/tests/tools/%.o $(TOOL_COMMON) $(LIB)
	@mkdir -p $(@D)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ -ljansson $(LIB_LIBS) -lm
# tg-audit is part of the Platform, that others hand something to.
$(call objects,tests/tools/tg-audit.c): INC := -Iinclude -Iplatform -Itests/tools
$(BUILD)/tools/tg-audit: $(BUILD)/tests/tools/tg-audit.o $(TOOL_COMMON) $(PLATFORM_LIB) $(LIB)
	@mkdir -p $(@D)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PLATFORM_LIBS)
-include $(wildcard $(BUILD)/tests/tools/*.d $(BUILD)/tests/tools/common/*.d)

# The Platform's parts on both stores, then the server as a program (tests/platform/run).
PLATFORMTEST_OBJ := $(call objects,$(wildcard tests/platform/*.c) tests/unit/main.c)
$(filter $(BUILD)/tests/platform/%,$(PLATFORMTEST_OBJ)): INC := -Iinclude -Iplatform -Itests/unit -Itests/platform -Itests/attest -Itests/tools
$(BUILD)/tests/platform-tests: $(PLATFORMTEST_OBJ) $(FAKE_TPM) $(TOOL_COMMON) $(PLATFORM_LIB) $(LIB)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcunit $(PLATFORM_LIBS)
-include $(PLATFORMTEST_OBJ:.o=.d)

# Preloaded by tests: a wall clock that they set.
$(BUILD)/tests/clock.so: tests/faults/clock.c
	@mkdir -p $(@D)
	$(call quiet,LD)$(CC) -std=gnu11 -O2 -Wall -Wextra -Werror -fPIC -shared -o $@ $<

.PHONY: check check-unit check-bpf check-net check-fault check-tpm check-platform check-identity check-system check-system-long check-faults check-web check-netns check-netns-long tools
tools: $(TOOLS) $(BPF_TEST_OBJ) $(BUILD)/tests/sandbox-tests ## test and measuring tools (replayer, wire observer, ...)
check: ## everything this machine can test (scripts/check)
	scripts/check
check-unit: $(BUILD)/tests/unit-tests ## CUnit tests, no root
	$<
check-bpf: $(BUILD)/tests/bpf-tests ## BPF_PROG_TEST_RUN tables, root
	$<
check-net: $(BUILD)/tests/net-tests ## links, routes, rules, qdiscs, tunnels, iptables in a private namespace, root
	$<
check-fault: $(BUILD)/tests/fault-tests ## verification of enrolments with every allocation failing once, no root
	$<
check-tpm: $(BUILD)/tests/tpm-tests ## keys, attestation and OpenSSL provider on an swtpm of its own
	$<
check-platform: all tools $(BUILD)/tests/platform-tests ## the Platform on SQLite and on a PostgreSQL of its own, no root needed (TG_LONG=1: more kills)
	BUILD=$(BUILD) tests/platform/run
check-web: all tools ## the fleet view in headless Chromium, root; not part of scripts/check
	BUILD=$(BUILD) tests/web/test-page
check-identity: all $(BUILD)/tests/identity-attack $(BUILD)/tests/identity-keep $(BUILD)/tests/clock.so ## enrolment, renewal, revocation and attacks on swtpm against a Platform, root
	TESTS=tests/e2e/identity BUILD=$(BUILD) tests/netns/run --jobs $(or $(TEST_JOBS),1)
check-system: all tools $(BUILD)/tests/clock.so ## the system-time loop: a robot, its gateway and the Platform in namespaces, root
	TESTS=tests/e2e/system BUILD=$(BUILD) tests/netns/run --jobs $(or $(TEST_JOBS),1)
check-system-long: all tools $(BUILD)/tests/clock.so ## the same for longer: seven days offline, all that a trail tells, root
	TESTS=tests/e2e/long BUILD=$(BUILD) tests/netns/run
check-faults: all tools $(BUILD)/tests/clock.so ## the fault matrix, half an hour: kills, partitions, loss, disks, clocks, stores, root; not part of scripts/check
	TESTS=tests/faults BUILD=$(BUILD) NETNS_TEST_TIMEOUT=2400 tests/netns/run
check-netns: all tools ## network namespace tests, root
	tests/netns/run
check-netns-long: all tools ## check-netns with long transfers and whole sessions, root
	NETNS_TEST_TIMEOUT=1800 TG_LONG=1 tests/netns/run
