/* SPDX-License-Identifier: BSD-3-Clause */
/* wireguard-go: its process and its control socket (userspace.c). */
#ifndef AGENT_NET_USERSPACE_H
#define AGENT_NET_USERSPACE_H

#include <stdbool.h>

#include "tensorguard/error.h"

enum { WG_EXIT_WAIT_MS = 5000, WG_START_WAIT_MS = 5000, WG_ADOPT_WAIT_MS = 1000 };

/*
 * All packets wait for this process: behind others that compute, the wire would show when they do. Measured
 * in docs/benchmarks.md.
 */
enum { WG_USERSPACE_NICE = -10 };

/*
 * Waits until nobody answers at the socket of a device that is gone, and
 * removes the dead socket file. With `wait_ms` 0 a socket that answers is left
 * alone: it belongs to a device of that name in another network namespace.
 * -ETIMEDOUT when it still answers after `wait_ms`.
 */
int wg_userspace_gone(const char *name, int wait_ms, struct tg_error *e);

/* Connects to the control socket: a descriptor, -ENOENT without one, -ECONNREFUSED when nobody listens. */
int wg_userspace_connect(const char *name, struct tg_error *e);

/* Waits until somebody answers at the socket; the error of the last attempt otherwise. */
int wg_userspace_await(const char *name, int wait_ms, struct tg_error *e);

/*
 * Takes the TUN device, making it if there is none; it goes with the descriptor
 * unless it is kept. -EBUSY when a process has it.
 */
int wg_userspace_open(const char *name, int *ret_fd, struct tg_error *e);

/* Lets the device outlive its descriptors: routes, addresses and programs stay when wireguard-go dies. */
int wg_userspace_keep(int fd, struct tg_error *e);

/* Starts wireguard-go on the device, which nobody has open, and waits until it is ready to be configured. */
int wg_userspace_start(const char *name, struct tg_error *e);

#endif
