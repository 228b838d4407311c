/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The error contract of lib/ and agent/: functions return 0 or a negative
 * errno, write outputs named ret_x only on success, and describe what went
 * wrong for a human in a struct tg_error that the caller owns. Nothing in lib/
 * prints. Messages are one line, without a final newline, and never contain
 * key material.
 */
#ifndef TENSORGUARD_ERROR_H
#define TENSORGUARD_ERROR_H

struct tg_error {
	char message[384];
};

/*
 * Formats the message (cut to fit) and returns `err` unchanged, so that a
 * caller can write `return tg_error(e, -EINVAL, "...")`. `e` may be NULL.
 */
int tg_error(struct tg_error *e, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts a prefix, formatted, and ": " before the message that `e` holds. Returns `err`. */
int tg_error_prefix(struct tg_error *e, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
