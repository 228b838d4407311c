/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "admin/admin.h"
#include "api/platform.h"
#include "http/log.h"
#include "main/serve.h"
#include "tensorguard/sync.h"

enum {
	MAX_WORKERS = 256,
	DEFAULT_CONNECTIONS = 20000,
	MAX_CONNECTIONS = 1000000,
	DEFAULT_RATE = 50,
	SPARE_FILES = 64,
	DAY = 86400,
	TICK_SECONDS = 5,
};

static int number(const char *text, const char *what, unsigned long max, unsigned standard,
		  unsigned *ret_value, struct tg_error *e)
{
	unsigned long value = standard;
	int ret = text ? tg_cli_parse_number(text, what, 1, max, &value, e) : 0;

	if (!ret)
		*ret_value = (unsigned)value;
	return ret;
}

static int take_options(const struct tg_cli *cli, struct platform_config *config, struct tg_error *e)
{
	const struct platform_options *options = admin_options(cli);
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	int ret;

	config->data = options->data;
	config->agent_rate = PLATFORM_AGENT_RATE;
	config->token_rate = PLATFORM_TOKEN_RATE;
	config->listen = options->listen ? options->listen : "[::]:8443";
	ret = number(options->workers, "--workers", MAX_WORKERS, cores > 0 ? (unsigned)cores : 1,
		     &config->workers, e);
	if (!ret)
		ret = number(options->connections, "--connections", MAX_CONNECTIONS, DEFAULT_CONNECTIONS,
			     &config->connections, e);
	if (!ret)
		ret = number(options->lifetime, "--lifetime", TG_AGENT_SECONDS_MAX, TG_AGENT_SECONDS_MAX,
			     &config->lifetime, e);
	if (!ret)
		ret = number(options->period, "--period", TG_SYNC_PERIOD_MAX, TG_SYNC_PERIOD, &config->period,
			     e);
	if (!ret)
		ret = number(options->rate, "--rate", 1000000, DEFAULT_RATE, &config->rate, e);
	return ret ? ret : admin_no_arguments(cli, e);
}

/*
 * One descriptor for each connection, and some for the rest. A number that was asked for must be possible;
 * the standard one gives way to the machine's limit.
 */
static int allow_files(unsigned *connections, bool asked, struct tg_error *e)
{
	struct rlimit limit;
	rlim_t wanted;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return tg_error(e, -errno, "open files: %s", strerror(errno));
	if (!asked && *connections + SPARE_FILES > limit.rlim_max && limit.rlim_max > 2 * SPARE_FILES)
		*connections = (unsigned)limit.rlim_max - SPARE_FILES;
	wanted = *connections + SPARE_FILES;
	if (limit.rlim_cur >= wanted)
		return 0;
	limit.rlim_cur = wanted;
	if (limit.rlim_max < wanted)
		limit.rlim_max = wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		return tg_error(e, -errno, "%u connections need %lu open files: %s", *connections,
				(unsigned long)wanted, strerror(errno));
	return 0;
}

/* Workers inherit the blocked signals; this thread takes them one by one. */
static void block_signals(sigset_t *ret_set)
{
	sigemptyset(ret_set);
	sigaddset(ret_set, SIGTERM);
	sigaddset(ret_set, SIGINT);
	sigaddset(ret_set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, ret_set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* What cannot be taken over changes nothing. */
static void reload(struct platform *platform, const struct platform_config *config)
{
	struct tg_error e = { "" };

	if (platform_reload(platform, config, &e))
		log_error("not-reloaded", json_pack("{s:s}", "error", e.message));
	else
		log_info("reloaded", NULL);
}

/* Until a signal ends it; once a day, and after SIGHUP, it looks at its certificates. */
static int wait_for_end(struct platform *platform, const struct platform_config *config,
			const sigset_t *signals)
{
	static const struct timespec tick = { .tv_sec = TICK_SECONDS };
	unsigned ticks = 0;
	int number_of;

	do {
		if (ticks++ % (DAY / TICK_SECONDS) == 0)
			platform_warn(platform, time(NULL));
		platform_tick(platform);
		do
			number_of = sigtimedwait(signals, NULL, &tick);
		while (number_of < 0 && errno == EINTR);
		if (number_of == SIGHUP) {
			reload(platform, config);
			ticks = 0;	/* what is in force now is looked at at once */
		}
	} while (number_of < 0 || number_of == SIGHUP);
	return number_of;
}

static int run(const struct platform_config *config, struct tg_error *e)
{
	struct platform *platform;
	sigset_t signals;
	int ret, number_of;

	block_signals(&signals);
	ret = platform_start(config, &platform, e);
	if (ret)
		return ret;
	log_info("listening", json_pack("{s:s, s:i, s:i, s:s}", "address", config->listen, "port",
					(int)server_port(platform->server), "workers", (int)config->workers,
					"version", TG_VERSION));
	number_of = wait_for_end(platform, config, &signals);
	log_info("stopping", json_pack("{s:s}", "signal", number_of == SIGTERM ? "SIGTERM" : "SIGINT"));
	platform_stop(platform);
	log_info("stopped", NULL);
	return 0;
}

int cmd_serve(struct tg_cli *cli, struct tg_error *e)
{
	char passphrase[ADMIN_PASSPHRASE_SIZE];
	struct platform_config config = { 0 };
	bool given;
	int ret;

	ret = take_options(cli, &config, e);
	if (!ret)
		ret = allow_files(&config.connections, admin_options(cli)->connections != NULL, e);
	if (!ret)
		ret = admin_passphrase(cli, passphrase, &given, e);
	if (ret)
		return ret;
	config.passphrase = given ? passphrase : NULL;
	ret = run(&config, e);
	OPENSSL_cleanse(passphrase, sizeof(passphrase));
	return ret;
}
