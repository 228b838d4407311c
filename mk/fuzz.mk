# fuzz/fuzz_NAME.c defines LLVMFuzzerTestOneInput. Seeds are in
# fuzz/corpus/NAME, inputs that once crashed in fuzz/crashes/NAME. It is built
# twice: with libFuzzer to find inputs (`make fuzz`), and with a main of its own
# (fuzz/replay.c) to run the known ones again (`make check-fuzz`).
FUZZ_NAMES := $(patsubst fuzz/fuzz_%.c,%,$(wildcard fuzz/fuzz_*.c))
FUZZ_OBJ := $(call objects,$(wildcard fuzz/*.c))
FUZZ_LIBS := $(FAKE_TPM) $(AGENT_LIB) $(LIB)
FUZZ_BUILD := build-fuzz
SECONDS ?= 60

# In the linker's order: what uses a library comes before it.
fuzz_parts = $(filter %.o,$1) $(filter $(PLATFORM_LIB),$1) $(filter-out %.o $(PLATFORM_LIB),$1)

$(FUZZ_OBJ): INC := -Iinclude -Iagent -Ifuzz -Itests/attest
$(FUZZ_OBJ): ALL_CFLAGS += -Wno-missing-prototypes
$(BUILD)/fuzz/replay-%: $(BUILD)/fuzz/fuzz_%.o $(BUILD)/fuzz/replay.o $(FUZZ_LIBS)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $(call fuzz_parts,$^) $(FUZZ_LINK) $(AGENT_LIBS)
$(BUILD)/fuzz/libfuzzer-%: $(BUILD)/fuzz/fuzz_%.o $(FUZZ_LIBS)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $(call fuzz_parts,$^) $(FUZZ_LINK) $(AGENT_LIBS)
# fuzz_audit_queue looks at the parts of the queue.
$(call objects,fuzz/fuzz_audit_queue.c): INC := -Iinclude -Ilib
# fuzz_http runs a Platform.
$(call objects,fuzz/fuzz_http.c): INC := -Iinclude -Iplatform -Itests/tools
FUZZ_HTTP_LIBS := $(TOOL_COMMON) $(PLATFORM_LIB)
$(BUILD)/fuzz/replay-http $(BUILD)/fuzz/libfuzzer-http: FUZZ_LINK := $(PLATFORM_LIBS)
$(BUILD)/fuzz/replay-http $(BUILD)/fuzz/libfuzzer-http: $(FUZZ_HTTP_LIBS)
.PRECIOUS: $(FUZZ_OBJ)
-include $(FUZZ_OBJ:.o=.d)

.PHONY: fuzz check-fuzz clean-fuzz
clean: clean-fuzz
clean-fuzz:
	rm -rf $(FUZZ_BUILD)
fuzz: ## libFuzzer with ASan and UBSan: make fuzz NAME=policy SECONDS=600
	@case " $(FUZZ_NAMES) " in *" $(NAME) "*) ;; *) echo "fuzz: NAME=... is one of: $(FUZZ_NAMES)" >&2; exit 2;; esac
	$(MAKE) BUILD=$(FUZZ_BUILD) CC=clang SANITIZE=1 CFLAGS='-g -fsanitize=fuzzer-no-link' \
		$(FUZZ_BUILD)/fuzz/libfuzzer-$(NAME)
	@mkdir -p $(FUZZ_BUILD)/corpus/$(NAME) fuzz/crashes/$(NAME)
	$(FUZZ_BUILD)/fuzz/libfuzzer-$(NAME) -max_total_time=$(SECONDS) -max_len=65536 -timeout=10 -print_final_stats=1 \
		-artifact_prefix=fuzz/crashes/$(NAME)/ $(FUZZ_FLAGS) \
		$(FUZZ_BUILD)/corpus/$(NAME) $(wildcard fuzz/corpus/$(NAME) fuzz/crashes/$(NAME))

# The replay is worth little without the sanitizers: a plain call builds them in.
ifeq ($(SANITIZE),1)
check-fuzz: $(FUZZ_NAMES:%=$(BUILD)/fuzz/replay-%) ## run the known fuzzing inputs again, with ASan and UBSan
	scripts/fuzz-replay $(BUILD) $(FUZZ_NAMES)
else
check-fuzz:
	$(MAKE) SANITIZE=1 BUILD=$(BUILD)-san $@
endif
