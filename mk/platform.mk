# tensorguard-platform: platform/*/*.c. It uses lib, and nothing of agent.
PLATFORM_SRC := $(wildcard platform/*/*.c)
PLATFORM_OBJ := $(call objects,$(PLATFORM_SRC))
PLATFORM_LIBS := -levent_core -levent_extra -levent_openssl -levent_pthreads -lsqlite3 -lpq -lpthread $(LIB_LIBS)
PLATFORM_MAIN := $(call objects,$(wildcard platform/main/*.c))
PLATFORM_LIB := $(BUILD)/libplatform.a

# The fleet view's page, carried in the program.
WEB_FILES := $(addprefix platform/web/,index.html app.css app.js)
WEB_OBJ := $(BUILD)/platform/web/files.o
$(WEB_OBJ:.o=.c): $(WEB_FILES) scripts/embed
	@mkdir -p $(@D)
	$(call quiet,EMBED)scripts/embed $(WEB_FILES) > $@.tmp && mv $@.tmp $@
$(WEB_OBJ): $(WEB_OBJ:.o=.c)
	$(call quiet,CC)$(CC) $(ALL_CFLAGS) $(INC) -c $< -o $@

$(PLATFORM_OBJ) $(WEB_OBJ): INC := -Iinclude -Iplatform -isystem $(shell $(PKG_CONFIG) --variable=includedir libpq)
$(PLATFORM_LIB): $(filter-out $(PLATFORM_MAIN),$(PLATFORM_OBJ)) $(WEB_OBJ)
	$(call quiet,AR)rm -f $@ && $(AR) rcs $@ $^
$(BUILD)/bin/tensorguard-platform: $(PLATFORM_MAIN) $(PLATFORM_LIB) $(LIB)
	@mkdir -p $(@D)
	$(call quiet,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PLATFORM_LIBS)
-include $(PLATFORM_OBJ:.o=.d) $(WEB_OBJ:.o=.d)

BUILT_PLATFORM := $(if $(PLATFORM_MAIN),tensorguard-platform)
all: $(addprefix $(BUILD)/bin/,$(BUILT_PLATFORM))
