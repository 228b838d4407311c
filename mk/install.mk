# install, uninstall, dist. Installing twice is the same as once; a policy that
# was edited is never overwritten (the shipped one is put beside it as .new) nor
# removed. STRIP=: keeps the symbols.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
BINDIR ?= $(PREFIX)/bin
SBINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
SHAREDIR ?= $(PREFIX)/share/tensorguard
POLICYDIR ?= $(SYSCONFDIR)/tensorguard/policies
STRIP ?= strip
INSTALL ?= install

# $(call installed,folder,sources): where they go
installed = $(addprefix $(DESTDIR)$(1)/,$(notdir $(2)))

INSTALL_SBIN := $(filter-out tgctl tgsp,$(BUILT_PROGRAMS)) $(BUILT_PLATFORM)
INSTALL_BIN := $(filter tgctl tgsp,$(BUILT_PROGRAMS))
INSTALL_MAN := $(wildcard docs/man/*.[1-9])
INSTALL_COMPLETIONS := $(wildcard agent/completion/* platform/completion/*)
INSTALL_UNITS := $(wildcard agent/units/*.service platform/units/*.service)
INSTALL_INIT := $(wildcard agent/units/*.init)
INSTALL_SYSUSERS := $(wildcard agent/units/*.sysusers) \
	$(if $(BUILT_PLATFORM),$(wildcard platform/units/*.sysusers))
INSTALL_TMPFILES := $(wildcard agent/units/*.tmpfiles)
INSTALL_POLICIES := $(wildcard policies/*.conf)

man_section = $(patsubst .%,man%,$(suffix $(1)))
INSTALLED := $(call installed,$(SBINDIR),$(INSTALL_SBIN)) $(call installed,$(BINDIR),$(INSTALL_BIN)) \
	$(foreach m,$(INSTALL_MAN),$(DESTDIR)$(MANDIR)/$(call man_section,$(m))/$(notdir $(m))) \
	$(call installed,$(COMPLETIONDIR),$(INSTALL_COMPLETIONS)) $(call installed,$(UNITDIR),$(INSTALL_UNITS)) \
	$(call installed,$(SHAREDIR)/init,$(INSTALL_INIT:.init=)) \
	$(call installed,$(SYSUSERSDIR),$(INSTALL_SYSUSERS:.sysusers=.conf)) \
	$(call installed,$(TMPFILESDIR),$(INSTALL_TMPFILES:.tmpfiles=.conf))

# $(call fill_in,template,target): a template with the paths of this installation
fill_in = sed -e 's|@SBINDIR@|$(SBINDIR)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' $(1) > '$(2)'

.PHONY: install uninstall dist
install: all ## install below PREFIX (/usr/local) and SYSCONFDIR (/etc); DESTDIR stands before both
	$(INSTALL) -d $(sort $(dir $(INSTALLED))) $(DESTDIR)$(POLICYDIR)
	$(foreach p,$(INSTALL_SBIN),$(INSTALL) -m 755 -s --strip-program='$(STRIP)' \
		$(BUILD)/bin/$(p) $(DESTDIR)$(SBINDIR)/$(p)$(newline))
	$(foreach p,$(INSTALL_BIN),$(INSTALL) -m 755 -s --strip-program='$(STRIP)' \
		$(BUILD)/bin/$(p) $(DESTDIR)$(BINDIR)/$(p)$(newline))
	$(foreach m,$(INSTALL_MAN),$(INSTALL) -m 644 $(m) $(DESTDIR)$(MANDIR)/$(call man_section,$(m))$(newline))
	$(INSTALL) -m 644 $(INSTALL_COMPLETIONS) $(DESTDIR)$(COMPLETIONDIR)
	$(foreach u,$(INSTALL_UNITS),$(call fill_in,$(u),$(DESTDIR)$(UNITDIR)/$(notdir $(u)))$(newline))
	$(foreach u,$(INSTALL_INIT),$(call fill_in,$(u),$(DESTDIR)$(SHAREDIR)/init/$(notdir $(u:.init=)))$(newline))
	$(foreach u,$(INSTALL_INIT),chmod 755 $(DESTDIR)$(SHAREDIR)/init/$(notdir $(u:.init=))$(newline))
	$(foreach u,$(INSTALL_SYSUSERS),$(INSTALL) -m 644 $(u) \
		$(DESTDIR)$(SYSUSERSDIR)/$(notdir $(u:.sysusers=.conf))$(newline))
	$(foreach u,$(INSTALL_TMPFILES),$(INSTALL) -m 644 $(u) \
		$(DESTDIR)$(TMPFILESDIR)/$(notdir $(u:.tmpfiles=.conf))$(newline))
	scripts/install-policies install $(DESTDIR)$(POLICYDIR) $(INSTALL_POLICIES)

uninstall: ## remove what install put there, except policies that were edited
	rm -f $(INSTALLED)
	scripts/install-policies uninstall $(DESTDIR)$(POLICYDIR) $(INSTALL_POLICIES)
	for folder in $(DESTDIR)$(SHAREDIR)/init $(DESTDIR)$(SHAREDIR) $(DESTDIR)$(POLICYDIR) \
		$(DESTDIR)$(SYSCONFDIR)/tensorguard; do [ ! -d "$$folder" ] || \
		rmdir --ignore-fail-on-non-empty "$$folder"; done

DIST := tensorguard-$(VERSION)
dist: ## a source archive of the last commit
	@mkdir -p $(BUILD)
	git archive --prefix=$(DIST)/ HEAD | gzip -n > $(BUILD)/$(DIST).tar.gz
	@echo $(BUILD)/$(DIST).tar.gz

define newline


endef
