/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a child may still do once it has entered its sandbox: rights (capabilities) and system calls. Whatever
 * is not listed ends the process with SIGSYS, which the kernel logs.
 */
#ifndef AGENT_SUPERVISE_SANDBOX_H
#define AGENT_SUPERVISE_SANDBOX_H

#include <linux/capability.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/error.h"

/* A set of capabilities: SANDBOX_RIGHT(CAP_NET_ADMIN) | ... On kernels before 5.8, which do not know CAP_BPF,
 * that stands for CAP_SYS_ADMIN. */
#define SANDBOX_RIGHT(capability) (1ull << (capability))

/* A call that is allowed with one value of an argument: (argument & mask) == value. */
struct sandbox_rule {
	const char *call;
	unsigned argument;
	uint64_t mask, value;
};

/* socket() of this family and protocol, of any type. */
struct sandbox_socket {
	int family, protocol;
};

struct sandbox {
	const char *user; /* it becomes this one, who is not root; NULL: it stays who it is */
	uint64_t rights;		      /* from beginning to end */
	uint64_t start_rights;		      /* those of them that are to be had, until sandbox_settle() */
	const char *const *calls;	      /* beside those that every child needs; NULL ends the list */
	const struct sandbox_rule *rules;     /* call NULL ends the list */
	const struct sandbox_rule *denied;    /* likewise: these fail with EPERM and end nothing; or NULL */
	const struct sandbox_socket *sockets; /* family 0 ends the list */
};

extern const struct sandbox sandbox_guard; /* maps, packet queue, netlink; no network, no file to write */
#define SANDBOX_TRUST_USER "tensorguard-trust"
extern const struct sandbox sandbox_trust; /* network, files, TPM; no right, no map, no packet queue */
/* What its libraries would load later, when no new code is taken any more. To be called before entering. */
void sandbox_trust_preload(void);
extern const struct sandbox sandbox_load;  /* rights alone: what tg-load does to the kernel */
#define SANDBOX_VAULT_USER "tensorguard-vault"
extern const struct sandbox
	sandbox_vault; /* files, sealed memory; no right, no socket, no TPM, no new code */

extern const struct sandbox
	sandbox_keys; /* WireGuard, files, datagrams in tunnels; no map, no packet queue */

/*
 * For good, for the calling process, which has one thread: no other descriptors than those below `first_fd`,
 * no core dump, nobody may look at its memory, no new privileges, no rights but these, an empty bounding set,
 * and these system calls. Becoming another user cancels PR_SET_PDEATHSIG. Without its user, nothing is
 * entered: sandbox_check_user().
 */
int sandbox_enter(const struct sandbox *sandbox, unsigned first_fd, struct tg_error *e);

/* Whether it can become its user: -ENOENT when there is no such user, -EPERM when that is root. */
int sandbox_check_user(const struct sandbox *sandbox, struct tg_error *e);

/* The calling thread gives up the rights that it needed to start, for good. */
int sandbox_settle(const struct sandbox *sandbox, struct tg_error *e);

/*
 * For a program that is about to be executed as who we are: these rights and no others, as far as they are to
 * be had, also in its bounding set. The calling process must not go on.
 */
int sandbox_give(const struct sandbox *sandbox, struct tg_error *e);

/*
 * For the supervisor: it keeps what these need to be started, and uses none of it itself but the right to end
 * a child that became another user, if there is one. No core dump, nobody may look at its memory, no new
 * privileges.
 */
int sandbox_supervise(const struct sandbox *const *children, size_t count, struct tg_error *e);

#endif
