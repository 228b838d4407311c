/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tgsp.h"

int list_split(const char *text, const char *what, struct list *ret_list, struct tg_error *e)
{
	struct list list = { .text = strdup(text) };
	size_t commas = 0;
	char *at, *word;

	for (const char *p = text; *p; p++)
		commas += *p == ',';
	list.words = calloc(commas + 1, sizeof(*list.words));
	if (!list.text || !list.words) {
		list_free(&list);
		return tg_error(e, -ENOMEM, "out of memory");
	}
	for (at = list.text; (word = strsep(&at, ","));) {
		if (!*word) {
			list_free(&list);
			return tg_error(e, TG_CLI_USAGE, "%s: an empty word in '%.100s'", what, text);
		}
		list.words[list.count++] = word;
	}
	*ret_list = list;
	return 0;
}

void list_free(struct list *list)
{
	free(list->text);
	free(list->words);
	*list = (struct list){ 0 };
}

char *hex(const uint8_t *data, size_t len, char *ret_text)
{
	for (size_t i = 0; i < len; i++)
		sprintf(ret_text + 2 * i, "%02x", data[i]);
	return ret_text;
}

int unhex(const char *text, const char *what, uint8_t *ret_data, size_t len, struct tg_error *e)
{
	if (strlen(text) != 2 * len || strspn(text, "0123456789abcdef") != 2 * len)
		return tg_error(e, TG_CLI_USAGE, "%s: expected %zu lower-case hexadecimal digits", what,
				2 * len);
	for (size_t i = 0; i < len; i++) {
		unsigned byte;

		sscanf(text + 2 * i, "%2x", &byte);
		ret_data[i] = (uint8_t)byte;
	}
	return 0;
}

int number_of(const char *text, const char *what, unsigned long min, unsigned long max, uint64_t fallback,
	      uint64_t *ret_value, struct tg_error *e)
{
	unsigned long value;
	int ret;

	if (!text) {
		*ret_value = fallback;
		return 0;
	}
	ret = tg_cli_parse_number(text, what, min, max, &value, e);
	if (!ret)
		*ret_value = value;
	return ret;
}

int time_of(const struct options *o, uint64_t *ret_now, struct tg_error *e)
{
	return number_of(o->at, "--at", 0, LONG_MAX, (uint64_t)time(NULL), ret_now, e);
}

int one_argument(const struct tg_cli *cli, const char *what, struct tg_error *e)
{
	if (cli->arg_count != 1)
		return tg_error(e, TG_CLI_USAGE, "'%s' takes %s; see --help", cli->command, what);
	return 0;
}

int flush_output(struct tg_error *e)
{
	return fflush(stdout) || ferror(stdout) ? tg_error(e, -EIO, "cannot write to standard output") : 0;
}

/* Progress. */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void draw(struct bar *bar, uint64_t done, uint64_t total, double at)
{
	enum { WIDTH = 30 };
	double share = total ? (double)done / (double)total : 1, seconds = at - bar->started;
	int full = (int)(share * WIDTH);

	fprintf(stderr, "\r%-10s [%.*s%*s] %3d %%  %.0f MiB/s ", bar->what, full,
		"##############################", WIDTH - full, "", (int)(share * 100),
		seconds > 0 ? (double)done / seconds / 1048576 : 0);
	fflush(stderr);
	bar->shown = true;
	bar->last = at;
}

static void report(void *ctx, uint64_t done, uint64_t total)
{
	struct bar *bar = ctx;
	double at;

	if (!bar->active)
		return;
	at = now();
	if (at - bar->last >= 0.1 || done == total)
		draw(bar, done, total, at);
}

void bar_init(struct bar *bar, const struct tg_cli *cli, const char *what)
{
	*bar = (struct bar){ .progress = { report, bar },
			     .what = what,
			     .active = !cli->json && isatty(STDERR_FILENO) };
	bar->started = now();
}

void bar_end(struct bar *bar)
{
	if (bar->shown)
		fprintf(stderr, "\r\033[K");
	bar->shown = false;
}
