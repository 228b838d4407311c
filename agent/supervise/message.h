/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the processes of tensorguard-agent say to one another: datagrams of one size over socketpairs
 * (SOCK_SEQPACKET), in the byte order of the machine. Every process takes the one at the other end for an
 * enemy: what message_parse() refuses ends the connection.
 */
#ifndef AGENT_SUPERVISE_MESSAGE_H
#define AGENT_SUPERVISE_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

/* Who may send a type, as bits. */
enum message_sender {
	FROM_SUPERVISOR = 1 << 0,
	FROM_GUARD = 1 << 1,
	FROM_TRUST = 1 << 2,
	FROM_VAULT = 1 << 3,
	FROM_KEYS = 1 << 4,
};

enum message_type {
	MESSAGE_PING = 1, /* supervisor: are you there? */
	MESSAGE_PONG,	  /* child: with the ping's number */
	MESSAGE_READY,	  /* child: it has started; once */
	MESSAGE_RELOAD,	  /* supervisor: read your policy again */
	MESSAGE_RELOADED, /* guard: it did, or failed to */
	MESSAGE_APPLY,	  /* trust: there is another policy in the state folder (tg-load apply) */
	MESSAGE_REPAIR,	  /* guard: something of the data plane is missing (tg-load status --repair) */
	MESSAGE_DONE,	  /* supervisor: that has ended */
	MESSAGE_STATS,	  /* guard: how the data plane is; supervisor to trust: the same, and its restarts */
	MESSAGE_EVENT,	  /* guard: something for the audit trail; the supervisor gives it to trust */
	MESSAGE_RECORDED, /* trust: the event of that number is on the disk */
	MESSAGE_TYPES,
};

/* What a guard sees of the data plane. */
enum message_state { MESSAGE_DOWN, MESSAGE_UP, MESSAGE_LOCKED, MESSAGE_STATES };
/* Bits. The data plane misses something that could not be mended so far; a peer does not answer; the guard
 * does not run, and what is beside this bit is what it said last. */
enum message_trouble {
	MESSAGE_BROKEN = 1 << 0,
	MESSAGE_PEER_SILENT = 1 << 1,
	MESSAGE_ABSENT = 1 << 2,
	MESSAGE_TROUBLES = 1 << 3, /* no bit from here on */
};
enum message_engine { MESSAGE_ENGINE_NONE, MESSAGE_ENGINE_KERNEL, MESSAGE_ENGINE_QUEUE, MESSAGE_ENGINES };

enum {
	MESSAGE_PAYLOAD = 56,
	MESSAGE_ERROR_MIN = -4095, /* the kernel's errno values */
	MESSAGE_STATUS_MAX = 255,
};

struct message_ping {
	uint64_t number;   /* from 1 on, each one more than the last */
	uint64_t restarts; /* of this child since the supervisor began */
	uint64_t faults;   /* of these because it said what message_parse() refused */
	uint64_t hangs;	   /* of these because it did not answer */
	uint32_t looping;  /* which children end again and again (backoff.h), this one or others: their
			    * message_sender bits */
	uint32_t reserved;
};

struct message_pong {
	uint64_t number;
};

struct message_reloaded {
	int32_t result; /* 0 or a negative errno, not below MESSAGE_ERROR_MIN */
	uint32_t reserved;
};

/* One at a time: the next one after its MESSAGE_DONE. */
struct message_ask {
	uint64_t number; /* of this child's, from 1 on */
};

struct message_recorded {
	uint16_t number; /* the event's */
	uint16_t reserved[3];
};

struct message_done {
	uint64_t number;  /* the request's */
	uint64_t took_ns; /* from its start to its end */
	/* 0 = it ended well; > 0: its exit status (128 + N: signal N); < 0: a negative errno, not below
	 * MESSAGE_ERROR_MIN: -ETIMEDOUT it was killed, else it could not be started */
	int32_t result;
	uint32_t reserved;
};

struct message_stats {
	uint64_t real, pad, dummy; /* bytes sent in all tunnels, each below 2^63 */
	uint64_t violations;	   /* likewise */
	uint64_t restarts;	   /* of the agent's processes: the supervisor's to fill in */
	uint8_t state, engine;	   /* as above */
	uint8_t troubles;	   /* enum message_trouble; ABSENT is the supervisor's to set */
	uint8_t looping;	   /* children that end again and again, as in a ping: the supervisor's */
	uint8_t reserved[4];
};

/*
 * Of a code whose actor is the sender; the supervisor passes on what is of others, and says its own. Trust,
 * which keeps the trail, is told one at a time and says when it has it: what it does not say so of is told
 * again.
 */
struct message_event {
	uint16_t code;	      /* enum tg_audit_code */
	uint16_t number;      /* to trust: from 1 on; from others 0 */
	uint32_t count;	      /* of equal events, from 1 */
	uint64_t time_ms;     /* of the first, since 1970 */
	uint64_t a, b;	      /* what they are depends on the code */
	char subject[24];     /* printable ASCII, zeros behind it: a tunnel, a process, ... */
};

struct message {
	uint16_t type;
	uint16_t length; /* of the payload; what the type has, no more and no less */
	uint32_t reserved;
	union {
		struct message_ping ping;
		struct message_pong pong;
		struct message_reloaded reloaded;
		struct message_ask ask; /* APPLY, REPAIR */
		struct message_done done;
		struct message_stats stats;
		struct message_recorded recorded;
		struct message_event event;
		uint8_t bytes[MESSAGE_PAYLOAD]; /* zero beyond `length` */
	};
};

_Static_assert(sizeof(struct message) == 8 + MESSAGE_PAYLOAD, "no hidden padding");
_Static_assert(offsetof(struct message, bytes) == 8, "the payload follows the head");
_Static_assert(sizeof(struct message_ping) == 40, "layout");
_Static_assert(sizeof(struct message_pong) == 8, "layout");
_Static_assert(sizeof(struct message_reloaded) == 8, "layout");
_Static_assert(sizeof(struct message_ask) == 8, "layout");
_Static_assert(sizeof(struct message_done) == 24, "layout");
_Static_assert(sizeof(struct message_stats) == 48, "layout");
_Static_assert(sizeof(struct message_event) == 56, "layout");
_Static_assert(sizeof(struct message_recorded) == 8, "layout");

/*
 * A datagram of `size` bytes that came from `from`. 0 and the message; -EMSGSIZE: not a message's size;
 * -EBADMSG: unknown type, another length than the type's, a field out of its range, bytes that must be zero
 * and are not; -EPERM: not a type for that sender.
 */
int message_parse(const void *data, size_t size, enum message_sender from, struct message *ret_message);

/* Who may send it, as a set of bits; 0 = there is no such type. */
unsigned message_sender_of(enum message_type type);

/* An empty message of that type, its length set. */
struct message message_of(enum message_type type);

#endif
