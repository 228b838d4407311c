/* SPDX-License-Identifier: BSD-3-Clause */
/* Enrolment and renewal, each as one call that blocks: keys, both messages, and the new state on the disk. */
#ifndef AGENT_TRUST_EXCHANGE_H
#define AGENT_TRUST_EXCHANGE_H

#include <stdatomic.h>

#include "trust/keys.h"
#include "trust/state.h"

/*
 * What both return, beside what a TPM, a disk or a network can:
 *	-EKEYREVOKED	the Platform refuses this device for good (revoked, unknown)
 *	-EKEYREJECTED	it refuses what it was sent, or it is not the Platform
 *	-EAGAIN		it asks to come back later
 */
struct trust_enrolment {
	const char *directory;
	const char *platform;		/* URL */
	const char *token_file;
	const char *ca_file;		/* NULL: the system's CAs */
	bool software;
	const char *tcti, *event_log;	/* NULL: what there is */
	const struct tg_bytes *secret;	/* of the key, without a TPM */
	bool replace;			/* an identity that is in force */
};

/* -EEXIST: there is an identity in force. */
int trust_enrol(const struct trust_enrolment *enrolment, struct trust_identity *ret_identity,
		struct tg_error *e);

struct trust_renewal {
	const char *directory;
	const struct tg_bytes *secret;	/* of the key, without a TPM */
	const atomic_bool *stop;	/* gives up soon after it becomes true; NULL: never */
	char *unnoted; /* TRUST_REASON_LEN: why the Platform refuses this device, where no note took it */
};

/*
 * A new TLS key and certificate for the identity that is in force, which the new one replaces. When the
 * Platform refuses it for good, that is noted for tg-load apply and beside the identity, or left in
 * `unnoted`.
 */
int trust_renew(const struct trust_renewal *renewal, struct trust_identity *ret_identity, struct tg_error *e);

#endif
