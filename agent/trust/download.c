/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tensorguard/hex.h"
#include "trust/download.h"
#include "trust/refusal.h"
#include "vault/call.h"

enum { LOOK_MS = 250, STUCK_MS = 60000, PIPE_BYTES = 1 << 20, PATH_SIZE = 96 };

static void path_of(const uint8_t blob[static TG_SHA256_LEN], char ret_path[static PATH_SIZE])
{
	char hex[2 * TG_SHA256_LEN + 1];

	tg_hex(blob, TG_SHA256_LEN, hex);
	snprintf(ret_path, PATH_SIZE, "/v1/blobs/%s", hex);
}

static int get(struct https *https, struct https_file *file, const char *path, struct tg_error *e)
{
	char reason[TRUST_REASON_LEN];
	struct https_answer answer = { 0 };
	int ret;

	file->path = path;
	/* a blob's entity tag is its hash */
	file->tag = strrchr(path, '/') + 1;
	ret = https_get(https, file, &answer, e);
	if (!ret && answer.status != 200 && answer.status != 206)
		ret = trust_refusal(&answer, reason, e);
	tg_bytes_free(&answer.body);
	return ret;
}

/* ---- into memory ---- */

static int take_bytes(void *ctx, const void *data, size_t len)
{
	struct tg_bytes *bytes = ctx;

	/* there is room for the size that https_get() has compared */
	memcpy(bytes->data + bytes->len, data, len);
	bytes->len += len;
	return 0;
}

int download_small(struct https *https, const uint8_t blob[static TG_SHA256_LEN], uint64_t size,
		   struct tg_bytes *ret_bytes, struct tg_error *e)
{
	struct tg_bytes bytes = { .data = size <= TG_TGSP_MAX_TRUST ? malloc(size + 1) : NULL };
	struct https_file file = { .size = size, .take = take_bytes, .ctx = &bytes };
	uint8_t hash[TG_SHA256_LEN];
	char path[PATH_SIZE];
	int ret;

	if (!bytes.data)
		return tg_error(e, -ENOMEM, "no memory for a document of %llu bytes",
				(unsigned long long)size);
	path_of(blob, path);
	ret = get(https, &file, path, e);
	if (!ret)
		ret = tg_sha256(&(struct tg_piece){ bytes.data, bytes.len }, 1, hash, e);
	if (!ret && memcmp(hash, blob, sizeof(hash)))
		ret = tg_error(e, -EBADMSG, "the Platform gave something else than the document");
	if (ret)
		tg_bytes_free(&bytes);
	else
		*ret_bytes = bytes;
	return ret;
}

/* ---- into vault ---- */

struct flow {
	int out;		/* of a pipe; does not block */
	const atomic_bool *stop;
	uint64_t moved;
	bool shut;		/* vault reads no more: it has something to say */
};

static int wait_for_room(const struct flow *flow)
{
	struct pollfd fd = { .fd = flow->out, .events = POLLOUT };

	for (int waited = 0; waited < STUCK_MS; waited += LOOK_MS) {
		if (atomic_load(flow->stop))
			return -ECANCELED;
		if (poll(&fd, 1, LOOK_MS) > 0)
			return 0;
	}
	return -ETIMEDOUT;
}

/* SIGPIPE is blocked in the thread. */
static int push(void *ctx, const void *data, size_t len)
{
	struct flow *flow = ctx;
	const char *at = data;
	int ret = 0;

	while (!ret && len) {
		ssize_t n = write(flow->out, at, len);

		if (n > 0) {
			at += n;
			len -= (size_t)n;
			flow->moved += (uint64_t)n;
		} else if (errno == EAGAIN) {
			ret = wait_for_room(flow);
		} else if (errno != EINTR) {
			flow->shut = errno == EPIPE;
			ret = -errno;
		}
	}
	return ret;
}

/* A request whose one descriptor is the end of a pipe; *ret_out is the other. */
static int open_flow(int vault, const char *op, int *ret_out, struct tg_error *e)
{
	int ends[2], ret;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return tg_error(e, -errno, "no pipe to vault: %s", strerror(errno));
	/* as much as it may have; it works with less */
	fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
	/* vault waits for what comes */
	ret = fcntl(ends[0], F_SETFL, 0) ? -errno
					 : call_send(vault, json_pack("{s:s}", "op", op), &ends[0], 1);
	close(ends[0]);
	if (!ret) {
		*ret_out = ends[1];
		return 0;
	}
	close(ends[1]);
	return tg_error(e, ret, "vault does not take it: %s", strerror(-ret));
}

/* It may have much to put on the disk. */
static int await_answer(int vault, const atomic_bool *stop, struct tg_error *e)
{
	struct pollfd fd = { .fd = vault, .events = POLLIN };
	json_t *answer;
	int ret;

	while (poll(&fd, 1, LOOK_MS) <= 0)
		if (atomic_load(stop))
			return tg_error(e, -ECANCELED, "given up");
	ret = call_answer(vault, &answer, NULL, e);
	if (!ret)
		json_decref(answer);
	return ret;
}

int download_give(int vault, const char *op, const struct tg_bytes *bytes, const atomic_bool *stop,
		  struct tg_error *e)
{
	struct flow flow = { .stop = stop };
	int ret = open_flow(vault, op, &flow.out, e);

	if (ret)
		return ret;
	ret = push(&flow, bytes->data, bytes->len);
	close(flow.out);
	if (ret && !flow.shut)
		return tg_error(e, ret, "vault does not take it: %s", strerror(-ret));
	return await_answer(vault, stop, e);
}

static int begin_install(int vault, const struct tg_model_assignment *package, const char *key,
			 uint64_t *ret_from, struct tg_error *e)
{
	json_t *answer;
	int ret = call_ask(
		vault,
		json_pack("{s:s, s:s, s:I}", "op", "install", "key", key, "size", (json_int_t)package->size),
		NULL, 0, &answer, NULL, e);

	if (ret)
		return ret;
	*ret_from = (uint64_t)json_integer_value(json_object_get(answer, "offset"));
	json_decref(answer);
	return *ret_from <= package->size ? 0 : tg_error(e, -EPROTO, "vault has more than there is");
}

int download_package(struct https *https, int vault, const struct tg_model_assignment *package,
		     const atomic_bool *stop, uint64_t *ret_moved, bool *ret_refused, struct tg_error *e)
{
	struct flow flow = { .stop = stop };
	struct https_file file = { .size = package->size, .take = push, .ctx = &flow };
	struct tg_error said = { "" };
	char path[PATH_SIZE];
	int ret, got = 0;

	*ret_moved = 0;
	path_of(package->blob, path);
	ret = begin_install(vault, package, strrchr(path, '/') + 1, &file.from, e);
	*ret_refused = ret == -EPROTO;
	if (!ret)
		ret = open_flow(vault, "data", &flow.out, e);
	if (ret)
		return ret;
	/* all of it is there when only the end of an installation was missed */
	if (file.from < file.size)
		got = get(https, &file, path, e);
	close(flow.out);
	*ret_moved = flow.moved;
	if (got && atomic_load(stop))
		return tg_error(e, -ECANCELED, "given up");
	ret = await_answer(vault, stop, &said);
	if (got && !flow.shut && ret)
		return got;
	*ret_refused = ret == -EPROTO || ret == -EKEYREVOKED || ret == -ENOSPC;
	return ret ? tg_error(e, ret, "%s", said.message) : 0;
}
