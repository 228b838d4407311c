/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/internal.h"
#include "net/iptables.h"
#include "net/process.h"

enum { TOOL_TIMEOUT_MS = 20000 };

static const struct tools {
	int family;
	const char *save, *restore;
} TOOLS[] = {
	{ AF_INET, "iptables-save", "iptables-restore" },
	{ AF_INET6, "ip6tables-save", "ip6tables-restore" },
};
enum { TOOLS_COUNT = sizeof(TOOLS) / sizeof(TOOLS[0]) };

static int run(const char *const *argv, const char *input, char **ret_output, struct tg_error *e)
{
	struct process process = { .argv = argv, .input = input, .timeout_ms = TOOL_TIMEOUT_MS };
	struct process_result result;
	int err = process_run(&process, &result, e);
	bool missing;

	if (err)
		return err;
	if (!result.status) {
		*ret_output = result.output;
		return 0;
	}
	free(result.output);
	/* a table or a family that the kernel has not: nothing of ours can be in it */
	missing = strstr(result.message, "Table does not exist") ||
		  strstr(result.message, "Address family not supported");
	err = missing ? -EAFNOSUPPORT : -EIO;
	return tg_error(e, err, "%s failed: %s", argv[0],
			result.message[0] ? result.message : "no message from it");
}

/* The family's mangle table; "" when the tool or the table is missing and `policy` wants nothing there. */
static int saved_table(const struct tools *tools, const struct tg_policy *policy, char **ret_saved,
		       struct tg_error *e)
{
	const char *const argv[] = { tools->save, "-t", "mangle", NULL };
	int err = run(argv, NULL, ret_saved, e);

	if ((err != -ENOENT && err != -EAFNOSUPPORT) || iptables_wanted(policy, tools->family))
		return err;
	*ret_saved = strdup("");
	return *ret_saved ? 0 : tg_error(e, -ENOMEM, "out of memory");
}

static int script_error(struct tg_error *e, int err, const struct tools *tools)
{
	if (err == -E2BIG)
		return tg_error(e, err, "the policy's flow rules need more than %d rules of %s",
				IPTABLES_MAX_RULES, tools->restore);
	return tg_error(e, err, "%s", strerror(-err));
}

static int apply(const struct tools *tools, const struct tg_policy *policy, struct tg_error *e)
{
	const char *const argv[] = { tools->restore, "--noflush", "--wait=5", NULL };
	char *saved = NULL, *text = NULL, *output = NULL;
	int err = saved_table(tools, policy, &saved, e);

	if (err)
		return err;
	err = iptables_script(policy, tools->family, saved, &text);
	if (err)
		script_error(e, err, tools);
	else if (text)
		err = run(argv, text, &output, e);
	free(output);
	free(text);
	free(saved);
	return err;
}

static bool family_exists(const struct tools *tools)
{
	return tools->family == AF_INET || net_has_ipv6();
}

int iptables_ensure(const struct tg_policy *policy, struct tg_error *e)
{
	int err = 0;

	for (int i = 0; i < TOOLS_COUNT && !err; i++)
		if (family_exists(&TOOLS[i]))
			err = apply(&TOOLS[i], policy, e);
	return err;
}

int iptables_remove(struct tg_error *e)
{
	return iptables_ensure(NULL, e);
}

int iptables_try(struct tg_error *e)
{
	int err = 0;

	for (int i = 0; i < TOOLS_COUNT && !err; i++) {
		const char *const save[] = { TOOLS[i].save, "-t", "mangle", NULL };
		const char *const restore[] = { TOOLS[i].restore, "--noflush", "--wait=5", NULL };
		char *saved = NULL, *output = NULL;

		if (!family_exists(&TOOLS[i]))
			continue;
		err = run(save, NULL, &saved, e);
		if (!err)
			err = run(restore, "*mangle\n-N TENSORGUARD\n-X TENSORGUARD\nCOMMIT\n", &output, e);
		free(saved);
		free(output);
	}
	return err;
}

int iptables_check(const struct tg_policy *policy, bool *ret_present, struct tg_error *e)
{
	bool present = true;

	for (int i = 0; i < TOOLS_COUNT; i++) {
		bool matches;
		char *saved;
		int err;

		if (!family_exists(&TOOLS[i]))
			continue;
		err = saved_table(&TOOLS[i], policy, &saved, e);
		if (err)
			return err;
		err = iptables_matches(policy, TOOLS[i].family, saved, &matches);
		free(saved);
		if (err)
			return script_error(e, err, &TOOLS[i]);
		present &= matches;
	}
	*ret_present = present;
	return 0;
}
