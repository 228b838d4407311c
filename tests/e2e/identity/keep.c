/* SPDX-License-Identifier: BSD-3-Clause */
/* Keeps an identity alive until SIGTERM: what trust_start() does, and nothing around it. */
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>

#include "tensorguard/file.h"
#include "trust/run.h"

static void log_line(const char *line)
{
	fprintf(stderr, "%s\n", line);
}

static void on_term(evutil_socket_t number, short events, void *base)
{
	(void)number;
	(void)events;
	event_base_loopbreak(base);
}

int main(int argc, char **argv)
{
	struct trust_conf conf = { .directory = argv[1], .log = log_line };
	struct event_base *base = event_base_new();
	struct event *term = base ? evsignal_new(base, SIGTERM, on_term, base) : NULL;
	struct tg_bytes secret = { 0 };
	struct tg_error e = { "" };
	struct trust *trust;
	int ret;

	if (argc < 2 || argc > 3 || !term) {
		fprintf(stderr, "Usage: identity-keep DIRECTORY [SECRET-FILE]\n");
		return 2;
	}
	ret = argc == 3 ? tg_file_read(argv[2], 1024, &secret, &e) : 0;
	conf.secret = secret.len ? &secret : NULL;
	if (!ret)
		ret = trust_start(base, &conf, &trust, &e);
	if (ret) {
		fprintf(stderr, "%s\n", e.message);
		return 1;
	}
	event_add(term, NULL);
	event_base_dispatch(base);
	trust_stop(trust);
	event_free(term);
	event_base_free(base);
	tg_bytes_free(&secret);
	return 0;
}
