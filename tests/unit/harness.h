/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CUnit with self-registering tests: a file defines TEST(suite, name) { ... }
 * and needs no list elsewhere. The runner (main.c) prints each failure and ends
 * with "N passed, N failed, N skipped".
 */
#ifndef TESTS_UNIT_HARNESS_H
#define TESTS_UNIT_HARNESS_H

#include <CUnit/CUnit.h>

void harness_add(const char *suite, const char *name, void (*run)(void));

/* Marks the running test as skipped; return from it afterwards. */
void harness_skip(const char *reason);

#define TEST(suite, name)                                                   \
	static void suite##_##name(void);                                   \
	__attribute__((constructor)) static void suite##_##name##_add(void) \
	{                                                                   \
		harness_add(#suite, #name, suite##_##name);                 \
	}                                                                   \
	static void suite##_##name(void)

#endif
