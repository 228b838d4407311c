/* SPDX-License-Identifier: BSD-3-Clause */
/* The policy parser, and the compiler on every policy that it accepts. */
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/compile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/*
 * libconfig 1.5 forgets the scanner's string when a text stands where its
 * grammar allows none. What it keeps of accepted texts hangs on settings, whose
 * leaks are still reported.
 */
const char *__lsan_default_suppressions(void)
{
	return "leak:strbuf_append\nleak:libconfig_yylex\n";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tg_policy *policy;
	struct tg_error e;

	if (tg_policy_parse((const char *)data, size, "fuzz", &policy, &e))
		return 0;
	for (size_t i = 0; i < policy->tunnel_count; i++) {
		struct tg_compiled *compiled;

		if (!tg_policy_compile(policy, i, &compiled, &e))
			tg_compiled_free(compiled);
	}
	tg_policy_free(policy);
	return 0;
}
