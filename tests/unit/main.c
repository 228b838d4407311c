/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs the registered tests, all or those whose "suite.name" contains argv[1]. */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

enum { MAX_TESTS = 1024 };

static struct test {
	const char *suite, *name;
	void (*run)(void);
} tests[MAX_TESTS];
static size_t test_count;
static unsigned skipped;
static const char *skip_reason;

void harness_add(const char *suite, const char *name, void (*run)(void))
{
	if (test_count == MAX_TESTS) {
		fprintf(stderr, "harness: more than %d tests\n", MAX_TESTS);
		abort();
	}
	tests[test_count++] = (struct test){ suite, name, run };
}

void harness_skip(const char *reason)
{
	skip_reason = reason;
}

static int by_name(const void *a, const void *b)
{
	const struct test *x = a, *y = b;
	int order = strcmp(x->suite, y->suite);

	return order ? order : strcmp(x->name, y->name);
}

static void test_done(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failure)
{
	if (skip_reason) {
		printf("skip %s.%s: %s\n", suite->pName, test->pName, skip_reason);
		skip_reason = NULL;
		skipped++;
	}
	for (CU_pFailureRecord f = failure; f; f = f->pNext)
		printf("fail %s.%s: %s:%u: %s\n", suite->pName, test->pName, f->strFileName, f->uiLineNumber,
		       f->strCondition);
}

static int register_tests(const char *filter)
{
	CU_pSuite suite = NULL;
	int added = 0;

	qsort(tests, test_count, sizeof(tests[0]), by_name);
	for (size_t i = 0; i < test_count; i++) {
		char full[256];

		snprintf(full, sizeof(full), "%s.%s", tests[i].suite, tests[i].name);
		if (filter && !strstr(full, filter))
			continue;
		if (!suite || strcmp(suite->pName, tests[i].suite))
			suite = CU_add_suite(tests[i].suite, NULL, NULL);
		if (!suite || !CU_add_test(suite, tests[i].name, tests[i].run))
			return -1;
		added++;
	}
	return added;
}

int main(int argc, char **argv)
{
	unsigned failed, run;
	int added;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (CU_initialize_registry() != CUE_SUCCESS)
		return EXIT_FAILURE;
	added = register_tests(argc > 1 ? argv[1] : NULL);
	if (added <= 0) {
		fprintf(stderr, "harness: no test matches\n");
		return EXIT_FAILURE;
	}
	CU_set_test_complete_handler(test_done);
	CU_run_all_tests();
	run = CU_get_number_of_tests_run();
	failed = CU_get_number_of_tests_failed();
	if (run != (unsigned)added)
		failed += (unsigned)added - run;
	printf("%u passed, %u failed, %u skipped\n", run - CU_get_number_of_tests_failed() - skipped, failed,
	       skipped);
	CU_cleanup_registry();
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
