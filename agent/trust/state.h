/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device keeps of its identity, in a folder of mode 0700:
 *
 *	lock		held by whoever changes anything
 *	current		a symbolic link to the generation in force; replacing it is what commits a change
 *	generation-N/	identity.json, the keys (keys.h), certificate.pem, ca.pem, policy-key.der (what
 *			policies must be signed with), models.root (who may vouch for models), and
 *			platform-ca.pem if the Platform's CA is pinned. Never changed once it is
 *			current, but for `refused`, which appears when the Platform will not have this
 *			device any more.
 *
 * A crash or a full disk at any moment leaves the old generation or the new one, each of them whole.
 */
#ifndef AGENT_TRUST_STATE_H
#define AGENT_TRUST_STATE_H

#include <limits.h>
#include <stdbool.h>

#include "tensorguard/attest.h"
#include "tensorguard/certificate.h"
#include "trust/schedule.h"

#define TRUST_DIRECTORY "/var/lib/tensorguard"
#define TRUST_URL_LEN 256
#define TRUST_TCTI_LEN 128
#define TRUST_REASON_LEN 64

struct trust_identity {
	unsigned generation;		/* 0 is none */
	char platform[TRUST_URL_LEN];	/* "https://..." */
	bool software;			/* the key is not in a TPM */
	char tcti[TRUST_TCTI_LEN];	/* of the TPM; "" is what tpm2-tss finds */
	char event_log[PATH_MAX];	/* "": none */
	char agent[TG_ID_LEN], fleet[TG_ID_LEN];
	enum tg_assurance assurance;
	struct trust_times times;
	struct tg_bytes certificate, ca, platform_ca; /* PEM; platform_ca empty: the system's */
	struct tg_bytes policy_key; /* DER; pinned at the enrolment; empty: of an older agent's enrolment */
	struct tg_bytes model_root; /* first root of models, pinned likewise; empty: there was none */
	char refused[TRUST_REASON_LEN]; /* why the Platform refuses it for good, or "" */
	char folder[PATH_MAX];		/* of this generation */
};

/* -ENOENT: this device has not been enrolled. */
int trust_identity_load(const char *directory, struct trust_identity *ret_identity, struct tg_error *e);
void trust_identity_clear(struct trust_identity *identity);
/* Cheaper than loading: the number of the current generation, 0 if there is none. */
unsigned trust_generation(const char *directory);

/* A generation that is being made. */
struct trust_draft {
	char directory[PATH_MAX];
	char folder[PATH_MAX];
	char place[32]; /* the same folder by descriptor, whatever its name leads to meanwhile: to write to */
	unsigned generation;
	int lock, fd;
};

/*
 * Takes the lock (-EBUSY: somebody has it), clears away what an interrupted change left, and makes the next
 * generation's folder with room for what the Platform is going to issue: a disk that is full says so before a
 * token is spent.
 */
int trust_draft_begin(const char *directory, struct trust_draft *ret_draft, struct tg_error *e);
/* Writes the identity beside the keys that are there already, and puts the generation in force. */
int trust_draft_commit(struct trust_draft *draft, struct trust_identity *identity, struct tg_error *e);
/* Gives up the lock, and the folder unless it was committed. */
void trust_draft_end(struct trust_draft *draft);

/* Remembers that the Platform refuses this identity for good. */
int trust_refused(const struct trust_identity *identity, const char *reason, struct tg_error *e);

#endif
