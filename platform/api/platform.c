/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/platform.h"
#include "sync/sync.h"
#include "http/log.h"

enum {
	URL_SIZE = 1024,
	BURST_SECONDS = 4, /* of an address */
	SITE_TIMES = 16,	/* as much as an address */
	AGENT_BURST_SECONDS = 30,
	CERTIFICATES = 2, /* of an agent that are in force: the last one, and the one before it */
	NAMELESS_PER_MINUTE = 60,
	NAMED_BURST = 10,
	/* of an agent's records: more than a device makes, and the whole queue of one that was offline, twice
	 */
	BATCHES_KIB_PER_MINUTE = 128,
	BATCHES_KIB_BURST = 4096,
};

/*
 * Only clients with a certificate: what anybody can send must not fill the disk. Nor must one of them, who
 * may come for ever with a certificate that has ended or was revoked: the first times, then once a minute.
 */
static void on_refused(struct request *request, const char *reason)
{
	struct platform *platform = request->context;
	char actor[STORE_TEXT_SIZE];

	if (!request->has_client || !platform_may_record(platform, request->client.id, reason))
		return;
	snprintf(actor, sizeof(actor), "address %s", request->address);
	platform_audit(platform, actor, "request", request->client.id, reason, request->route->path);
}

static int make_tls(const struct data_keys *keys, SSL_CTX **ret_tls, struct tg_error *e)
{
	return server_tls_new(keys->server_cert, keys->server_chain, keys->server_key, keys->ca_cert, ret_tls,
			      e);
}

static int start_server(struct platform *platform, const struct platform_config *config, const char *url,
			struct tg_error *e)
{
	struct server_config server = { .listen = config->listen,
					.workers = config->workers,
					.connections = config->connections,
					.store_url = url,
					.routes = platform_routes,
					.context = platform,
					.metrics = &platform->metrics,
					.by_address = platform->by_address,
					.by_site = platform->by_site,
					.by_agent = platform->by_agent,
					.by_certificate = platform->by_certificate,
					.refused = on_refused };
	int ret;

	ret = make_tls(&platform->keys, &server.tls, e);
	if (ret)
		return ret;
	ret = server_start(&server, &platform->server, e);
	SSL_CTX_free(server.tls);	/* the server keeps a reference */
	return ret;
}

/* An empty folder, or none, pins nobody. */
static int load_roots(const char *directory, struct tg_attest_roots **ret_roots, struct tg_error *e)
{
	char path[FILE_PATH_SIZE];
	struct dirent *entry;
	bool empty = true;
	DIR *folder;
	int ret;

	ret = file_path(directory, "ek-roots", path, e);
	if (ret)
		return ret;
	folder = opendir(path);
	if (!folder)
		return errno == ENOENT ? 0 : tg_error(e, -errno, "%s: %s", path, strerror(errno));
	while ((entry = readdir(folder)))
		empty = empty && entry->d_name[0] == '.';
	closedir(folder);
	return empty ? 0 : tg_attest_roots_load(path, ret_roots, e);
}

struct tg_attest_roots *platform_roots(struct platform *platform)
{
	struct tg_attest_roots *roots;

	pthread_mutex_lock(&platform->roots_lock);
	roots = tg_attest_roots_ref(platform->roots);
	pthread_mutex_unlock(&platform->roots_lock);
	return roots;
}

/* 0, long ago, for what cannot be read: an alarm rather than none. */
static int64_t end_of(const X509 *cert)
{
	int64_t end = 0;

	return tg_certificate_end(cert, &end, NULL) || end < 0 ? 0 : end;
}

static void note_ends(struct platform *platform, const struct data_keys *keys)
{
	platform->server_end = end_of(keys->server_cert);
	platform->ca_end = end_of(keys->ca_cert);
	platform->crl_end = tg_attest_roots_crl_end(platform->roots);
}

static void put_in_force(struct platform *platform, const struct data_keys *keys, SSL_CTX *tls,
			 struct tg_attest_roots *roots)
{
	struct tg_attest_roots *old;

	server_set_tls(platform->server, tls);
	pthread_mutex_lock(&platform->roots_lock);
	old = platform->roots;
	platform->roots = roots;
	pthread_mutex_unlock(&platform->roots_lock);
	tg_attest_roots_free(old);
	note_ends(platform, keys);
}

int platform_reload(struct platform *platform, const struct platform_config *config, struct tg_error *e)
{
	struct tg_attest_roots *roots = NULL;
	struct data_keys keys = { 0 };
	SSL_CTX *tls = NULL;
	int ret;

	ret = data_keys_load(config->data, config->passphrase, &keys, e);
	/* agents hold certificates of this CA, and know the server by it */
	if (!ret && X509_cmp(keys.ca_cert, platform->keys.ca_cert))
		ret = tg_error(e, -EINVAL, "ca.crt is another one: that needs a restart");
	if (!ret)
		ret = load_roots(config->data, &roots, e);
	if (!ret)
		ret = make_tls(&keys, &tls, e);
	if (!ret)
		put_in_force(platform, &keys, tls, roots);
	else
		tg_attest_roots_free(roots);
	SSL_CTX_free(tls);	/* the server keeps a reference */
	data_keys_free(&keys);
	return ret;
}

/* A directory that is older than the ledger gets its key now. */
static int load_ledger_key(struct platform *platform, const struct platform_config *config,
			   struct tg_error *e)
{
	int ret = ledger_key_load(config->data, config->passphrase, &platform->ledger, e);

	if (ret != -ENOENT)
		return ret;
	ret = ledger_key_make(config->data, config->passphrase, e);
	if (!ret)
		ret = ledger_key_load(config->data, config->passphrase, &platform->ledger, e);
	if (!ret)
		log_info("ledger-key-made", json_pack("{s:s}", "key", platform->ledger.text));
	return ret;
}

static struct limiter *agent_limiter(unsigned rate)
{
	return limiter_new(rate, (rate * AGENT_BURST_SECONDS + 59) / 60);
}

int platform_start(const struct platform_config *config, struct platform **ret_platform, struct tg_error *e)
{
	struct platform *platform = calloc(1, sizeof(*platform));
	char url[URL_SIZE];
	int ret;

	if (!platform)
		return tg_error(e, -ENOMEM, "out of memory");
	platform->by_address = limiter_new(config->rate * 60, config->rate * BURST_SECONDS);
	platform->by_site =
		limiter_new(config->rate * 60 * SITE_TIMES, config->rate * BURST_SECONDS * SITE_TIMES);
	platform->by_certificate = agent_limiter(config->agent_rate);
	platform->by_agent = agent_limiter(config->agent_rate * CERTIFICATES);
	platform->by_token = limiter_new(config->token_rate, config->token_rate);
	platform->nameless = limiter_new(NAMELESS_PER_MINUTE, NAMELESS_PER_MINUTE);
	platform->named = limiter_new(1, NAMED_BURST);
	platform->batches = limiter_new(BATCHES_KIB_PER_MINUTE, BATCHES_KIB_BURST);
	platform->sessions = sessions_new();
	platform->policies = policies_new(config->policy_ms);
	pthread_mutex_init(&platform->roots_lock, NULL);
	platform->lifetime = config->lifetime;
	platform->period = config->period ? config->period : TG_SYNC_PERIOD;
	snprintf(platform->data, sizeof(platform->data), "%s", config->data);
	ret = platform->by_address && platform->by_site && platform->by_agent && platform->by_certificate &&
			      platform->by_token && platform->nameless && platform->named &&
			      platform->batches && platform->sessions && platform->policies
		      ? 0
		      : tg_error(e, -ENOMEM, "out of memory");
	if (!ret)
		ret = data_store_url(config->data, url, sizeof(url), e);
	if (!ret)
		ret = data_keys_load(config->data, config->passphrase, &platform->keys, e);
	if (!ret)
		ret = load_ledger_key(platform, config, e);
	if (!ret)
		ret = load_roots(config->data, &platform->roots, e);
	if (!ret)
		note_ends(platform, &platform->keys);
	if (!ret)
		ret = writer_start(url, &platform->writer, e);
	if (!ret)
		ret = (platform->heartbeats = heartbeats_new(platform->writer))
			      ? 0
			      : tg_error(e, -ENOMEM, "out of memory");
	if (!ret)
		ret = start_server(platform, config, url, e);
	if (ret)
		platform_stop(platform);
	else
		*ret_platform = platform;
	return ret;
}

void platform_stop(struct platform *platform)
{
	if (!platform)
		return;
	if (platform->server)
		server_stop(platform->server);
	writer_stop(platform->writer);
	server_free(platform->server);
	limiter_free(platform->by_address);
	limiter_free(platform->by_site);
	limiter_free(platform->by_agent);
	limiter_free(platform->by_certificate);
	limiter_free(platform->by_token);
	limiter_free(platform->nameless);
	limiter_free(platform->named);
	limiter_free(platform->batches);
	sessions_free(platform->sessions);
	heartbeats_free(platform->heartbeats);
	policies_free(platform->policies);
	tg_attest_roots_free(platform->roots);
	ledger_key_clear(&platform->ledger);
	pthread_mutex_destroy(&platform->roots_lock);
	data_keys_free(&platform->keys);
	free(platform);
}
