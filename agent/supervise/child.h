/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A child's side: it is this program again, executed anew by the supervisor (--child=NAME, or
 * --child=NAME:USER if its sandbox has a user), with memory of its own from the first byte on. Descriptor 3
 * is its channel; descriptor 4, if its kind has one, a socket that listens.
 */
#ifndef AGENT_SUPERVISE_CHILD_H
#define AGENT_SUPERVISE_CHILD_H

#include <stdbool.h>
#include <sys/stat.h>

#include "supervise/sandbox.h"
#include "supervise/message.h"
#include "tensorguard/error.h"

enum { CHILD_CHANNEL_FD = 3, CHILD_SOCKET_FD = 4 };

struct event_base;

/* What a child is, to itself and to the supervisor. */
struct child_kind {
	const char *name; /* "guard": in arguments and in messages; with "tg-" before it, the process's */
	enum message_sender sender;
	const struct sandbox *sandbox;
	const char *socket; /* file in the run folder that it listens at; NULL = none */
	mode_t socket_mode;
	bool takes_reload; /* is told to read its policy again */
	bool takes_stats;  /* is told what the guard reports */
	bool dispensable;  /* the others start and go on without it */
	bool keeps_trail;  /* is told what belongs into the audit trail */
};

struct child;

struct child_ops {
	/* The supervisor asks for it; 0 or a negative errno goes back. NULL for kinds that do not take it. */
	int (*reload)(void *ctx);
	/* What child_ask() asked for has ended. NULL for kinds that ask for nothing. */
	void (*done)(void *ctx, const struct message_done *done);
	/* How the data plane is. NULL for kinds that do not care. */
	void (*stats)(void *ctx, const struct message_stats *stats);
	/* For the audit trail; child_recorded() when it is on the disk. NULL for kinds that do not keep it.
	 */
	void (*event)(void *ctx, const struct message_event *event);
	void *ctx;
};

/*
 * The first thing that a child does, before it reads anything that somebody else wrote: enters its sandbox.
 * It ends together with the supervisor. -EBADRQC when it was not the supervisor that started it.
 */
int child_enter(const struct child_kind *kind, struct tg_error *e);

/*
 * Makes the process's event loop, in which it answers the supervisor. The loop is broken by SIGTERM, and when
 * the supervisor is gone or says what it must not say: child_failure(). child_leave() frees the loop:
 * whatever works from it has ended before.
 */
int child_join(const struct child_ops *ops, struct child **ret_child, struct tg_error *e);
void child_leave(struct child *child); /* NULL-safe */
struct event_base *child_base(const struct child *child);

/* It has started: to be said once. */
void child_ready(struct child *child);
/* The same, and the loop until it is broken: 0 by SIGTERM, else why. */
int child_serve(struct child *child, struct tg_error *e);

/*
 * Asks the supervisor to run a program as root for this child: MESSAGE_APPLY or MESSAGE_REPAIR, as its kind
 * may send. It may be some time until it starts. -EALREADY: the last one has not ended yet; -EAGAIN: the
 * supervisor does not read.
 */
int child_ask(struct child *child, enum message_type type);

/* To whom it may concern; 0, or -EAGAIN: nobody reads. */
int child_send_stats(struct child *child, const struct message_stats *stats);
/*
 * Something for the audit trail, of a code that is this child's. What the supervisor does not read is lost:
 * the caller keeps count where that matters. -EAGAIN.
 */
int child_report(struct child *child, unsigned code, uint32_t count, const char *subject, uint64_t a,
		 uint64_t b);
void child_recorded(struct child *child, uint16_t number);

/* Why child_join()'s loop was broken: 0, or a negative errno. */
int child_failure(const struct child *child);

/* What the last ping said; zeros before the first one. */
const struct message_ping *child_ping(const struct child *child);

#endif
