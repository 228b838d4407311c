# The ring of model packages (tests/tgsp). The third-party vectors are in TG_VECTORS, default ../shared/vectors.
TGSPTEST_OBJ := $(call objects,$(wildcard tests/tgsp/*.c) tests/unit/main.c)
$(filter $(BUILD)/tests/tgsp/%,$(TGSPTEST_OBJ)): INC := -Iinclude -Iagent -Itests/unit -Itests/tgsp
$(BUILD)/tests/tgsp-tests: $(TGSPTEST_OBJ) $(AGENT_LIB) $(LIB)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcunit $(AGENT_LIBS)
-include $(TGSPTEST_OBJ:.o=.d)

.PHONY: check-tgsp check-tgsp-library check-tgsp-engines check-fleet
check-tgsp: all $(BUILD)/tests/tgsp-tests ## model packages: vectors, attacks, the programs, from the Platform to devices; root for those of the agent
	BUILD=$(BUILD) tests/tgsp/run
# Not part of scripts/check, which makes ten stops.
check-fleet: all ## 50 random stops of a model's download, root (TG_KILLS, TG_SEED)
	TG_KILLS=$(or $(TG_KILLS),50) NETNS_TEST_TIMEOUT=900 TESTS=tests/e2e/models BUILD=$(BUILD) tests/netns/run kills
check-tgsp-library: $(BUILD)/tests/tgsp-tests ## its CUnit part alone
	BUILD=$(BUILD) tests/tgsp/run unit
# python3-torch is not among what scripts/deps installs by default: scripts/deps --attack does.
check-tgsp-engines: all ## OpenCV and libtorch (TorchScript) load models from vault, root
	BUILD=$(BUILD) TG_ENGINES="opencv torch" tests/tgsp/run vault-engines
