/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The arithmetic of staged roll-outs: pure functions, time and counts are parameters.
 *
 * Each device falls by its id and the release into one of 10,000 buckets; a stage is a number of buckets.
 * Another release takes another order of devices, so that it is not always the same ones that try first.
 */
#ifndef PLATFORM_RELEASE_STAGE_H
#define PLATFORM_RELEASE_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/error.h"

enum {
	STAGE_ALL = 10000,	/* buckets; shares are parts of as many */
	STAGES_MAX = 8,
	STAGE_FIRST = 10,	/* devices that may be told before any has answered */
	STAGE_EVIDENCE = 2,	/* failures before a stage ends early */
	STAGES_TEXT_SIZE = 8 * STAGES_MAX,
};

struct stages {
	uint32_t buckets[STAGES_MAX]; /* rising, 1..STAGE_ALL */
	size_t count;
	size_t now;	/* the stage that it is in */
};

/* "0.1,1,10,100": percent, with up to two digits behind the point. `ret_stages` begins with the first. */
int stages_parse(const char *text, struct stages *ret_stages, struct tg_error *e);
void stages_print(const struct stages *stages, char ret_text[static STAGES_TEXT_SIZE]);

/* 0..STAGE_ALL - 1: the first 8 bytes of SHA-256(manifest hash | agent's id), modulo STAGE_ALL. */
int stage_bucket(const uint8_t manifest[static 32], const char *agent, uint32_t *ret_bucket,
		 struct tg_error *e);

struct stage_rule {
	uint32_t failures;	/* share of failed devices that is borne */
	uint32_t quorum;	/* share of told devices that must have answered before the next stage */
	int64_t soak;		/* seconds without a newly told device before the next stage */
};

struct stage_counts {
	int64_t told;		/* devices, all stages together */
	int64_t healthy, failed; /* of these */
};

/*
 * Whether one more device may be told. Those who have not answered are at most as many as those who are
 * healthy, and always STAGE_FIRST: what is bad about a release is known before many have it, however large
 * the stage.
 */
bool stage_admits(const struct stage_counts *counts);

enum stage_verdict { STAGE_WAIT, STAGE_NEXT, STAGE_STOP };

/*
 * `quiet`: seconds since a device was told, or since the stage began. STAGE_STOP early, when STAGE_EVIDENCE
 * devices have failed and the share of failures is above the rule's with 95 % confidence (lower bound of
 * Wilson's interval, one-sided); at the end of a stage, when the share is above it, whatever the confidence:
 * more will not be learned.
 */
enum stage_verdict stage_judge(const struct stage_rule *rule, const struct stage_counts *counts,
			       int64_t quiet);

#endif
