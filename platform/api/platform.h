/* SPDX-License-Identifier: BSD-3-Clause */
/* The running Platform: what the handlers of all routes share. */
#ifndef PLATFORM_API_PLATFORM_H
#define PLATFORM_API_PLATFORM_H

#include <pthread.h>
#include <stdatomic.h>

#include "data/data.h"
#include "enrol/sessions.h"
#include "http/server.h"
#include "ledger/key.h"
#include "store/writer.h"
#include "tensorguard/attest.h"

/* What is done every few seconds, in the store's thread. */
struct tick {
	struct store_job job;
	_Atomic bool busy;
};

struct platform {
	struct tick tick;
	char data[FILE_PATH_SIZE]; /* the directory */
	struct data_keys keys;	/* as they were at the start; what the server shows may be newer */
	struct ledger_key ledger;
	struct metrics metrics;
	struct writer *writer;
	struct limiter *by_address, *by_site, *by_agent, *by_certificate, *by_token;
	struct limiter *nameless;	/* audit records of refusals that name nobody */
	struct limiter *named;		/* the same by client and reason */
	struct limiter *batches;	/* an agent's own records, in KiB */
	struct sessions *sessions;
	pthread_mutex_t roots_lock;
	struct tg_attest_roots *roots;	/* NULL: no TPM vendor is pinned; see platform_roots() */
	int64_t lifetime;		/* of an agent's certificate, seconds */
	struct heartbeats *heartbeats;	/* sync/sync.h, as the next one */
	struct policies *policies;
	int64_t period;			/* seconds between two requests of an agent */
	struct server *server;
	/* When what is in force ends, in seconds since 1970; crl_end 0: no vendor's revocation list is there.
	 */
	_Atomic int64_t server_end, ca_end, crl_end;
};

enum { PLATFORM_AGENT_RATE = 60, PLATFORM_TOKEN_RATE = 10 };

struct platform_config {
	const char *data;	/* directory */
	const char *passphrase;	/* of its keys, or NULL */
	const char *listen;
	unsigned workers, connections;
	unsigned lifetime;	/* of agents' certificates, seconds */
	unsigned period;	/* between two sync requests of an agent, seconds; 0: TG_SYNC_PERIOD */
	unsigned policy_ms;	/* how long no news of policies is looked for in the store; 0: a second */
	unsigned rate;		/* handshakes and requests without a name per second and address */
	unsigned agent_rate, token_rate;	/* requests of an agent, attempts with a token, per minute */
};

int platform_start(const struct platform_config *config, struct platform **ret_platform, struct tg_error *e);
/* Ends what is under way, then everything. NULL is fine. */
void platform_stop(struct platform *platform);
/*
 * Reads the server's key and certificate, the TPM vendors' roots and revocation lists again, and puts all of
 * them in force or, with an error, none. For the thread that called platform_start(), with the same config.
 */
int platform_reload(struct platform *platform, const struct platform_config *config, struct tg_error *e);

/* What vendors are trusted now, or NULL. To be freed by tg_attest_roots_free(). */
struct tg_attest_roots *platform_roots(struct platform *platform);

/*
 * Logs an error for each certificate of the Platform's own that ends within 30 days of `now`, and for a
 * vendor's revocation list that ends within 2.
 */
void platform_warn(const struct platform *platform, int64_t now);

/* To be called every few seconds: ends stages of roll-outs whose time has come. Does not wait. */
void platform_tick(struct platform *platform);

/* All routes, ended by path NULL; docs/openapi.yaml describes them. */
extern const struct route platform_routes[];

void get_healthz(struct request *request);
void get_metrics(struct request *request);
void get_checkpoint(struct request *request);
void get_tile(struct request *request);
void get_entries(struct request *request);
void get_blob(struct request *request);	/* and HEAD */
void get_fleet_agents(struct request *request);
void get_fleet_agent(struct request *request);
void get_fleet_models(struct request *request);
void get_fleet_releases(struct request *request);
void get_fleet_audit(struct request *request);
void get_fleet_alerts(struct request *request);
void post_fleet_revoke(struct request *request);
void get_page(struct request *request);
void post_enrol_start(struct request *request);
void post_enrol_finish(struct request *request);
void post_renew_start(struct request *request);
void post_renew_finish(struct request *request);
void post_sync(struct request *request);

/* Writes an audit record without waiting for it. */
void platform_audit(struct platform *platform, const char *actor, const char *action, const char *target,
		    const char *outcome, const char *detail);
/*
 * Whether there is to be a record of one more refusal of this client for this reason: of the first ones,
 * then of one a minute, for records stay for ever. /metrics counts all of them. Any thread.
 */
bool platform_may_record(struct platform *platform, const char *client, const char *reason);

#endif
