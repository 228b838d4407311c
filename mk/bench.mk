# bench/NAME.sh measures and prints JSON lines {name, value, unit, reference,
# ratio}; the programs that it needs are bench/*.c.
BENCH_BIN := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))
$(call objects,$(wildcard bench/*.c)): INC := -Iinclude
$(BENCH_BIN): $(BUILD)/bench/%: $(BUILD)/bench/%.o
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lnetfilter_queue -lmnl
-include $(BENCH_BIN:=.d)

.PHONY: bench
bench: all $(BENCH_BIN) ## measure, as JSON lines, root
	@for script in bench/*.sh; do BUILD=$(BUILD) $$script || exit 1; done
