/* SPDX-License-Identifier: BSD-3-Clause */
/* What the commands of tgsp share. */
#ifndef TGSP_TGSP_H
#define TGSP_TGSP_H

#include <stdio.h>

#include "tensorguard/cli.h"
#include "tensorguard/tgsp.h"

struct options {
	const char *out, *type, *passphrase_file;
	const char *key, *recipient;
	const char *model, *model_version, *release, *days, *base, *segment;
	const char *fleet, *agent_version, *accelerator, *offline, *parent, *training_run, *data_hash,
		*epsilon, *delta;
	bool attested;
	const char *root, *trust, *signer, *threshold, *at, *floor, *floor_key, *extract;
	const char *root_keys, *targets_keys, *snapshot_keys, *timestamp_keys, *package_keys, *previous;
};

static inline const struct options *options_of(const struct tg_cli *cli)
{
	return cli->options;
}

int cmd_keygen(struct tg_cli *cli, struct tg_error *e);
int cmd_pack(struct tg_cli *cli, struct tg_error *e);
int cmd_inspect(struct tg_cli *cli, struct tg_error *e);
int cmd_verify(struct tg_cli *cli, struct tg_error *e);
int cmd_open(struct tg_cli *cli, struct tg_error *e);
int cmd_recipients_add(struct tg_cli *cli, struct tg_error *e);
int cmd_recipients_remove(struct tg_cli *cli, struct tg_error *e);
int cmd_trust_root(struct tg_cli *cli, struct tg_error *e);
int cmd_trust_publish(struct tg_cli *cli, struct tg_error *e);

/* Comma-separated words; free_list(). An empty word is an error. */
struct list {
	char *text;
	char **words;
	size_t count;
};
int list_split(const char *text, const char *what, struct list *ret_list, struct tg_error *e);
void list_free(struct list *list);

/* Keys from files. */
struct keys {
	EVP_PKEY *keys[TG_COSE_MAX_SIGNATURES];
	size_t count;
};
int keys_private(const struct options *o, struct keys *ret_keys, struct tg_error *e);
int keys_public(const char *files, const char *what, struct keys *ret_keys, struct tg_error *e);
void keys_free(struct keys *keys);
/* The one private key of --key, for opening; keys_free() after use. */
int key_for_opening(const struct options *o, struct keys *ret_keys, struct tg_hpke_private *ret_private,
		    struct tg_error *e);

/* Public keys of recipients, as many as there are. */
struct points {
	uint8_t (*points)[TG_P256_POINT_LEN];
	uint8_t (*ids)[TG_KEY_ID_LEN];
	size_t count;
};
int points_read(const char *files, struct points *ret_points, struct tg_error *e);
/* The ids alone; a word may be an id, as inspect shows it, in the place of a file. */
int ids_read(const char *words, struct points *ret_points, struct tg_error *e);
void points_free(struct points *points);

/*
 * A file that appears under its name when it is complete. Until then it has no
 * name where the file system can do that, so that nothing is left behind.
 */
struct output {
	const char *path;
	char *temporary;
	int fd;
	bool named;
};
int output_begin(const char *path, mode_t mode, struct output *ret_output, struct tg_error *e);
/* -EEXIST when there is a file already and `replace` is false. */
int output_commit(struct output *output, bool replace, struct tg_error *e);
void output_abort(struct output *output);

/* A bar on standard error, if that is a terminal and the output not JSON. */
struct bar {
	struct tg_tgsp_progress progress;
	const char *what;
	bool active, shown;
	double started, last;
};
void bar_init(struct bar *bar, const struct tg_cli *cli, const char *what);
void bar_end(struct bar *bar);

/* Opens a package and reads its front. */
struct package {
	int fd;
	struct tg_tgsp *tgsp;
};
int package_open(const char *path, struct package *ret_package, struct tg_error *e);
void package_close(struct package *package);

/* Whom to trust, from --signer or --root and --trust; the floor, from --floor. */
struct trust {
	struct tg_tgsp_trust *trust;
	struct tg_floor *floor;
	struct tg_tgsp_rules rules;
};
int trust_init(const struct options *o, struct trust *ret_trust, struct tg_error *e);
void trust_free(struct trust *trust);
/* Seconds since 1970: --at, or the clock. */
int time_of(const struct options *o, uint64_t *ret_now, struct tg_error *e);

/* Lower-case hexadecimal digits and a NUL; the reverse takes exactly that many. */
char *hex(const uint8_t *data, size_t len, char *ret_text);
int unhex(const char *text, const char *what, uint8_t *ret_data, size_t len, struct tg_error *e);
enum { HASH_TEXT = 2 * TG_SHA256_LEN + 1 };

/* A number option, `fallback` when it is not given. */
int number_of(const char *text, const char *what, unsigned long min, unsigned long max, uint64_t fallback,
	      uint64_t *ret_value, struct tg_error *e);

/* Exactly one argument. */
int one_argument(const struct tg_cli *cli, const char *what, struct tg_error *e);

/* Flushes what was printed; -EIO when that is not possible. */
int flush_output(struct tg_error *e);

#endif
