/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <time.h>

#include "store/backend.h"
#include "store/parts.h"

/*
 * One string per version, never changed once released. The store must refuse by itself what must never be: a
 * token with two certificates (certificate.token), two agents with one EK or one id.
 * audit.previous stays empty: records are chained in the ledger, which has them all (ledger.h).
 */
static const char *const migrations[] = {
	"CREATE TABLE fleet ("
	"  name TEXT PRIMARY KEY, levels BIGINT NOT NULL, pcr_mask BIGINT NOT NULL, pcrs BLOB NOT NULL,"
	"  event_log_optional BIGINT NOT NULL, created BIGINT NOT NULL);"
	"CREATE TABLE agent ("
	"  id TEXT PRIMARY KEY, identity BLOB NOT NULL UNIQUE, fleet TEXT NOT NULL REFERENCES fleet(name),"
	"  level BIGINT NOT NULL, ak_public BLOB NOT NULL, hpke_point BLOB NOT NULL,"
	"  enrolled BIGINT NOT NULL, renewed BIGINT NOT NULL,"
	"  not_after BIGINT NOT NULL, revoked BIGINT NOT NULL, reason TEXT NOT NULL);"
	"CREATE TABLE token ("
	"  id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, fleet TEXT NOT NULL REFERENCES fleet(name),"
	"  ek_hash BLOB, created BIGINT NOT NULL, expires BIGINT NOT NULL, used BIGINT NOT NULL,"
	"  name TEXT NOT NULL, revoked BIGINT NOT NULL, agent TEXT REFERENCES agent(id));"
	"CREATE TABLE certificate ("
	"  serial TEXT PRIMARY KEY, agent TEXT NOT NULL REFERENCES agent(id),"
	"  token TEXT UNIQUE REFERENCES token(id), issued BIGINT NOT NULL, not_after BIGINT NOT NULL);"
	"CREATE INDEX certificate_agent ON certificate(agent);"
	"CREATE TABLE audit ("
	"  sequence BIGINT PRIMARY KEY, time BIGINT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,"
	"  target TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL, previous BLOB);",
	/* policies and heartbeats; the document comes last: it is long, and mostly not looked at */
	"ALTER TABLE agent ADD COLUMN labels TEXT NOT NULL DEFAULT '';"
	"CREATE TABLE policy ("
	"  version BIGINT PRIMARY KEY, target TEXT NOT NULL, kind BIGINT NOT NULL, not_before BIGINT NOT "
	"NULL,"
	"  not_after BIGINT NOT NULL, offline BIGINT NOT NULL, name TEXT NOT NULL, published BIGINT NOT NULL,"
	"  origin BIGINT NOT NULL, withdrawn BIGINT NOT NULL, document BLOB NOT NULL);"
	"CREATE INDEX policy_target ON policy(target, version);"
	"CREATE TABLE heartbeat ("
	"  agent TEXT PRIMARY KEY REFERENCES agent(id), time BIGINT NOT NULL, version TEXT NOT NULL,"
	"  kernel TEXT NOT NULL, engine BIGINT NOT NULL, state BIGINT NOT NULL, uptime BIGINT NOT NULL,"
	"  real_bytes BIGINT NOT NULL, pad_bytes BIGINT NOT NULL, dummy_bytes BIGINT NOT NULL,"
	"  violations BIGINT NOT NULL, restarts BIGINT NOT NULL, faults TEXT NOT NULL,"
	"  policy_version BIGINT NOT NULL);",
	"CREATE TABLE ledger_head (id BIGINT PRIMARY KEY, size BIGINT NOT NULL, roots BLOB NOT NULL);"
	"CREATE TABLE ledger_leaf ("
	"  position BIGINT PRIMARY KEY, source TEXT NOT NULL, sequence BIGINT NOT NULL, stored BIGINT NOT "
	"NULL,"
	"  hash BLOB NOT NULL, data BLOB NOT NULL);"
	"CREATE INDEX ledger_leaf_source ON ledger_leaf(source, sequence);"
	"CREATE TABLE ledger_node ("
	"  level BIGINT NOT NULL, position BIGINT NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (level, "
	"position));"
	"CREATE TABLE ledger_chain ("
	"  source TEXT NOT NULL, chain BLOB NOT NULL, begun BIGINT NOT NULL, sequence BIGINT NOT NULL,"
	"  hash BLOB NOT NULL, PRIMARY KEY (source, chain));"
	"CREATE TABLE ledger_batch ("
	"  source TEXT NOT NULL, chain BLOB NOT NULL, last BIGINT NOT NULL, signature BLOB NOT NULL,"
	"  public_key BLOB NOT NULL, PRIMARY KEY (source, chain, last));",
	/* releases of models */
	"CREATE TABLE release ("
	"  model TEXT NOT NULL, number BIGINT NOT NULL, manifest BLOB NOT NULL UNIQUE, content BLOB NOT NULL,"
	"  blob BLOB NOT NULL, size BIGINT NOT NULL, added BIGINT NOT NULL, document BLOB NOT NULL,"
	"  PRIMARY KEY (model, number));"
	"CREATE INDEX release_blob ON release(blob);"
	"CREATE TABLE rollout ("
	"  fleet TEXT NOT NULL REFERENCES fleet(name), model TEXT NOT NULL, base BIGINT NOT NULL,"
	"  candidate BIGINT NOT NULL, state BIGINT NOT NULL, stages BLOB NOT NULL, stage BIGINT NOT NULL,"
	"  failures BIGINT NOT NULL, quorum BIGINT NOT NULL, soak BIGINT NOT NULL, told BIGINT NOT NULL,"
	"  healthy BIGINT NOT NULL, failed BIGINT NOT NULL, begun BIGINT NOT NULL, changed BIGINT NOT NULL,"
	"  reason TEXT NOT NULL, PRIMARY KEY (fleet, model));"
	"CREATE TABLE model ("
	"  agent TEXT NOT NULL REFERENCES agent(id), model TEXT NOT NULL, number BIGINT NOT NULL,"
	"  manifest BLOB NOT NULL, state BIGINT NOT NULL, since BIGINT NOT NULL, detail TEXT NOT NULL,"
	"  told BIGINT NOT NULL, verdict BIGINT NOT NULL, ran BIGINT NOT NULL, faults BIGINT NOT NULL,"
	"  seen BIGINT NOT NULL, PRIMARY KEY (agent, model));"
	"CREATE TABLE model_history ("
	"  agent TEXT NOT NULL, sequence BIGINT NOT NULL, model TEXT NOT NULL, number BIGINT NOT NULL,"
	"  manifest BLOB NOT NULL, state BIGINT NOT NULL, since BIGINT NOT NULL, detail TEXT NOT NULL,"
	"  seen BIGINT NOT NULL, PRIMARY KEY (agent, sequence));"
	"CREATE TABLE trust ("
	"  role BIGINT NOT NULL, version BIGINT NOT NULL, blob BLOB NOT NULL, size BIGINT NOT NULL,"
	"  issued BIGINT NOT NULL, expires BIGINT NOT NULL, PRIMARY KEY (role, version));",
	"CREATE TABLE operator ("
	"  serial TEXT PRIMARY KEY, name TEXT NOT NULL, issued BIGINT NOT NULL, not_after BIGINT NOT NULL,"
	"  revoked BIGINT NOT NULL, reason TEXT NOT NULL);"
	"CREATE INDEX operator_name ON operator(name);"
	"CREATE TABLE ek_chain ("
	"  agent TEXT PRIMARY KEY REFERENCES agent(id), certificates BLOB NOT NULL);",
	/* a week for devices with a TPM; older programs had no grace, and those without one still have none
	 */
	("ALTER TABLE fleet ADD COLUMN grace BIGINT NOT NULL DEFAULT 604800;"
	 "ALTER TABLE fleet ADD COLUMN grace_software BIGINT NOT NULL DEFAULT 0;"),
	"ALTER TABLE release ADD COLUMN revoked BIGINT NOT NULL DEFAULT 0;",
	/* public keys of tunnels; tunnel_public: none is two tunnels' */
	("CREATE TABLE tunnel_key ("
	 "  agent TEXT NOT NULL REFERENCES agent(id), tunnel TEXT NOT NULL, current_key BLOB NOT NULL,"
	 "  next_key BLOB, since BIGINT NOT NULL, PRIMARY KEY (agent, tunnel));"
	 "CREATE TABLE tunnel_public ("
	 "  public_key BLOB PRIMARY KEY, agent TEXT NOT NULL REFERENCES agent(id), tunnel TEXT NOT NULL);"
	 "CREATE INDEX tunnel_public_agent ON tunnel_public(agent);"),
	/* which release it was that ran, not only whether the last one did */
	"UPDATE model SET ran = told WHERE ran <> 0;",
};

enum { LATEST = sizeof(migrations) / sizeof(migrations[0]) };

int store_schema_latest(void)
{
	return LATEST;
}

static int take_number(void *arg, const struct db_row *row)
{
	*(int64_t *)arg = db_row_int(row, 0);
	return 1;
}

int store_schema_version(struct store *store, int64_t *ret_version, struct tg_error *e)
{
	int64_t version = 0, rows;

	rows = db_run(store->db, "SELECT COALESCE(MAX(version), 0) FROM schema_version", NULL, 0, take_number,
		      &version, e);
	if (rows < 0)
		return (int)rows;
	*ret_version = version;
	return 0;
}

static int apply(struct store *store, int64_t version, struct tg_error *e)
{
	int64_t rows;
	int ret = 0;

	if (version == 1 && store->db->backend->prelude)
		ret = db_script(store->db, store->db->backend->prelude, e);
	if (!ret)
		ret = db_script(store->db, migrations[version - 1], e);
	if (ret)
		return tg_error_prefix(e, ret, "schema version %d", (int)version);
	rows = db_run(store->db, "INSERT INTO schema_version (version, applied) VALUES ($1, $2)",
		      DB_VALUES(db_int(version), db_int(time(NULL))), NULL, NULL, e);
	return rows < 0 ? (int)rows : 0;
}

/* Under the write lock, so that two processes that start together do it once. */
static int apply_all(struct store *store, const void *arg, struct tg_error *e)
{
	int64_t version = 0;
	int ret;

	(void)arg;
	ret = db_script(store->db,
			"CREATE TABLE IF NOT EXISTS schema_version"
			" (version BIGINT PRIMARY KEY, applied BIGINT NOT NULL)",
			e);
	if (!ret)
		ret = store_schema_version(store, &version, e);
	if (!ret && version > LATEST)
		return tg_error(e, -EPROTO, "the store has schema version %d, this program knows %d",
				(int)version, LATEST);
	while (!ret && version < LATEST)
		ret = apply(store, ++version, e);
	return ret;
}

int store_migrate(struct store *store, struct tg_error *e)
{
	return store_change(store, apply_all, NULL, e);
}
