# libtensorguard.a: everything that needs neither netlink nor libbpf.
LIB_SRC := $(wildcard lib/*/*.c)
LIB_OBJ := $(call objects,$(LIB_SRC))
LIB := $(BUILD)/libtensorguard.a
LIB_LIBS := -lconfig -ljansson -lssl -lcrypto -ltss2-esys -ltss2-sys -ltss2-mu -ltss2-rc -ltss2-tctildr -lm

$(LIB_OBJ): INC := -Iinclude -Ilib
$(LIB): $(LIB_OBJ)
	$(call quiet,AR)rm -f $@ && $(AR) rcs $@ $^
-include $(LIB_OBJ:.o=.d)
