/* SPDX-License-Identifier: BSD-3-Clause */
/* What comes from logs: names of tiles, keys, checkpoints, proofs. The first byte says which. */
#include <stdlib.h>
#include <string.h>

#include "tensorguard/tlog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char vkey[] = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

static void one_proof(const char *text, size_t size)
{
	struct tg_tlog_proof proof;
	const char *checkpoint;
	struct tg_tlog_head head = { .size = 1000 };
	uint64_t index;
	struct tg_error e;

	if (tg_tlog_proof_parse(text, size, &proof, &index, &checkpoint, &e))
		return;
	if (proof.count > TG_TLOG_PROOF_MAX || checkpoint < text || checkpoint >= text + size)
		abort();
	head.size = index + size;
	(void)tg_tlog_check_inclusion(&proof, &head, index, proof.hashes[0], &e);
	(void)tg_tlog_check_consistency(&proof, &(struct tg_tlog_head){ .size = index }, &head, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tg_tlog_tile tile;
	struct tg_tlog_head head;
	struct tg_tlog_key key;
	struct tg_error e;
	char *text;

	if (size < 1 || !(text = malloc(size)))
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	if (data[0] == 't')
		(void)tg_tlog_tile_parse(text, &tile);
	else if (data[0] == 'k')
		(void)tg_tlog_key_parse(text, &key, &e);
	else if (data[0] == 'c' && !tg_tlog_key_parse(vkey, &key, &e))
		(void)tg_tlog_checkpoint_verify(text, size - 1, &key, &head, &e);
	else
		one_proof(text, size - 1);
	free(text);
	return 0;
}
