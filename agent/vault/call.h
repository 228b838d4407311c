/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RUNDIR/vault.sock: what tgctl, trust and programs that use models say to the process vault. SOCK_SEQPACKET;
 * each message is one JSON object of at most CALL_MAX bytes, perhaps with descriptors (SCM_RIGHTS). A request
 * has "op"; an answer has "error", one line, if the request failed. docs/models.md describes all of them.
 */
#ifndef AGENT_VAULT_CALL_H
#define AGENT_VAULT_CALL_H

#include <jansson.h>
#include <stddef.h>

#include "tensorguard/error.h"

#define CALL_SOCKET "vault.sock"

enum {
	CALL_MAX = 128 << 10, /* bytes of a message */
	CALL_FDS = 64,	      /* descriptors of a message */
};

/* -ECONNREFUSED with a message that says what to do when nobody serves it. */
int call_connect(const char *run_dir, int *ret_fd, struct tg_error *e);

/* Steals `message`; NULL is out of memory. Descriptors stay the caller's. -EMSGSIZE, -ENOMEM, or the
 * kernel's. */
int call_send(int fd, json_t *message, const int *fds, size_t count);

/* A message's descriptors; the caller closes them. */
struct call_fds {
	int fds[CALL_FDS];
	size_t count;
};
void call_close(struct call_fds *fds);

/* Waits. 0 is the end of the connection, 1 a message. -EBADMSG for anything but one JSON object; never leaves
 * a descriptor behind. `ret_fds` NULL: none are taken. */
int call_receive(int fd, json_t **ret_message, struct call_fds *ret_fds);

/* The word that goes along with an error as "reason", for who has to decide whether to try again; NULL for
 * most errors. */
const char *call_reason(int error);

/* A request and its answer, which is the caller's. What the answer says went wrong is the error: that of its
 * reason, else -EPROTO. */
int call_ask(int fd, json_t *request, const int *fds, size_t count, json_t **ret_answer,
	     struct call_fds *ret_fds, struct tg_error *e);
/* An answer that comes later, as call_ask(). */
int call_answer(int fd, json_t **ret_answer, struct call_fds *ret_fds, struct tg_error *e);

#endif
