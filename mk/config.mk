# Compilers, flags and the rules that every folder shares. Each folder passes
# its own INC: it gets only the include paths that it is entitled to.
BUILD ?= build$(if $(SANITIZE),-san)
VERSION := 0.1.0
CLANG ?= clang
BPFTOOL ?= bpftool
PKG_CONFIG ?= pkg-config
V ?= 0

# `make -s` is silent, so that what a target prints is all there is
ifneq ($(findstring s,$(firstword -$(MAKEFLAGS))),)
quiet = @
else ifeq ($(V),0)
quiet = @printf '  %-8s %s\n' '$(1)' '$(patsubst $(BUILD)/%,%,$@)';
else
quiet =
endif

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wcast-align -Wwrite-strings -Wundef -Wformat=2 -Wnull-dereference -Wvla -Wimplicit-fallthrough
ifeq ($(SANITIZE),1)
HARDEN := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1
HARDEN_LD := -fsanitize=address,undefined
else
HARDEN := -O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE
HARDEN_LD := -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed,--gc-sections
endif
# Optional x86 hardening goes away on machines whose compiler refuses it.
HARDEN := $(filter-out $(if $(shell $(CC) -fcf-protection -x c -c /dev/null -o /dev/null 2>/dev/null || echo no),-fcf-protection),$(HARDEN))
CFLAGS ?= -g
CSTD := -std=gnu17 -D_GNU_SOURCE -DTG_VERSION='"$(VERSION)"' -ffunction-sections -fdata-sections
ALL_CFLAGS = $(CSTD) $(WARN) $(HARDEN) $(CFLAGS) -MMD -MP
ALL_LDFLAGS = $(HARDEN_LD) $(LDFLAGS)

# $(call objects,sources)
objects = $(patsubst %.c,$(BUILD)/%.o,$(1))

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(ALL_CFLAGS) $(INC) -c $< -o $@

.PHONY: all clean help
clean: ## remove everything that was built
	rm -rf build build-san build-clang build-cov

help: ## this list
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' Makefile mk/*.mk | sort | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  %-16s %s\n", $$1, $$2}'
