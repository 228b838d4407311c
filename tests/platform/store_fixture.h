/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_PLATFORM_STORE_FIXTURE_H
#define TESTS_PLATFORM_STORE_FIXTURE_H

#include "store/store.h"

enum { NOW = 1700000000, FLEET_LEVEL = 2 };

/* The address in $TEST_STORE: "sqlite:FILE" or "postgresql:...". */
const char *store_url(void);
/* An empty store there. NULL, and a failed assertion, when it cannot be made. */
struct store *fresh_store(void);

/* A fleet that allows FLEET_LEVEL only. */
void make_fleet(struct store *store, const char *name);
/* A token whose secret's hash is 32 times `byte`, for an hour from NOW on. */
struct store_token make_token(struct store *store, const char *fleet, uint8_t byte);
/* An enrolment with it by the device whose identity is 32 times `device`, with that serial number. */
struct store_enrolment enrolment(uint8_t token_byte, const char *fleet, const char *id, uint8_t device,
				 const char *serial);
/* store_enrol() in a transaction of its own. */
enum store_refusal enrol(struct store *store, const struct store_enrolment *enrolment);
int count_certificates(struct store *store, const char *agent);

#endif
