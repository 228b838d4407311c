# agent/<program>/*.c are programs; the other folders of agent/ are their common parts.
PROGRAMS := tg-load tensorguard-agent tgctl tgsp
AGENT_PARTS := common net dataplane guard heal keys pace instance supervise trust vault
AGENT_COMMON_SRC := $(wildcard $(addsuffix /*.c,$(addprefix agent/,$(AGENT_PARTS))))
AGENT_COMMON_OBJ := $(call objects,$(AGENT_COMMON_SRC))
AGENT_LIB := $(BUILD)/libagent.a
AGENT_LIBS := -lbpf -lmnl -lnetfilter_queue -lnfnetlink -levent_core -ljansson -lcap-ng -lseccomp -pthread $(LIB_LIBS)

$(AGENT_COMMON_OBJ): INC := -Iinclude -Iagent -I$(BUILD)/bpf
$(AGENT_COMMON_OBJ): | $(BPF_SKEL)
$(AGENT_LIB): $(AGENT_COMMON_OBJ)
	$(call quiet,AR)rm -f $@ && $(AR) rcs $@ $^
-include $(AGENT_COMMON_OBJ:.o=.d)

define program_rules
$(1)_OBJ := $$(call objects,$$(wildcard agent/$(1)/*.c))
$$($(1)_OBJ): INC := -Iinclude -Iagent
$$(BUILD)/bin/$(1): $$($(1)_OBJ) $$(AGENT_LIB) $$(LIB)
	@mkdir -p $$(@D)
	$$(call quiet,LD)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ $$(AGENT_LIBS)
-include $$($(1)_OBJ:.o=.d)
endef
BUILT_PROGRAMS := $(foreach p,$(PROGRAMS),$(if $(wildcard agent/$(p)/*.c),$(p)))
$(foreach p,$(BUILT_PROGRAMS),$(eval $(call program_rules,$(p))))

all: $(LIB) $(addprefix $(BUILD)/bin/,$(BUILT_PROGRAMS)) ## build everything
