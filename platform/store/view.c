/* SPDX-License-Identifier: BSD-3-Clause */
/* Agents and their last heartbeats in one query, as the fleet view asks for all of them at once. */
#include "store/parts.h"

struct each_agent {
	int (*each)(void *arg, const struct store_agent *agent, const struct store_heartbeat *beat);
	void *arg;
};

static void read_agent(const struct db_row *row, struct store_agent *agent)
{
	db_row_text(row, 0, agent->id, sizeof(agent->id));
	db_row_text(row, 1, agent->fleet, sizeof(agent->fleet));
	agent->level = db_row_int(row, 2);
	agent->enrolled = db_row_int(row, 3);
	agent->renewed = db_row_int(row, 4);
	agent->not_after = db_row_int(row, 5);
	agent->revoked = db_row_int(row, 6);
	db_row_text(row, 7, agent->reason, sizeof(agent->reason));
}

/* NULL is 0 and "": there was none. */
static void read_beat(const struct db_row *row, struct store_heartbeat *beat)
{
	int64_t *const numbers[] = { &beat->time,     &beat->engine,        &beat->state, &beat->uptime,
				     &beat->real,     &beat->pad,           &beat->dummy, &beat->violations,
				     &beat->restarts, &beat->policy_version };

	db_row_text(row, 8, beat->version, sizeof(beat->version));
	db_row_text(row, 9, beat->kernel, sizeof(beat->kernel));
	db_row_text(row, 10, beat->faults, sizeof(beat->faults));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		*numbers[i] = db_row_int(row, 11 + (int)i);
}

static int give(void *arg, const struct db_row *row)
{
	const struct each_agent *each = arg;
	struct store_heartbeat beat = { 0 };
	struct store_agent agent = { 0 };

	read_agent(row, &agent);
	read_beat(row, &beat);
	return each->each(each->arg, &agent, &beat);
}

int store_fleet_view(struct store *store,
		     int (*each)(void *arg, const struct store_agent *agent,
				 const struct store_heartbeat *beat),
		     void *arg, struct tg_error *e)
{
	struct each_agent all = { each, arg };
	int64_t rows;

	rows = db_run(store->db,
		      "SELECT a.id, a.fleet, a.level, a.enrolled, a.renewed, a.not_after, a.revoked, "
		      "a.reason, b.version,"
		      " b.kernel, b.faults, COALESCE(b.time, 0), COALESCE(b.engine, 0), COALESCE(b.state, 0),"
		      " COALESCE(b.uptime, 0), COALESCE(b.real_bytes, 0), COALESCE(b.pad_bytes, 0),"
		      " COALESCE(b.dummy_bytes, 0), COALESCE(b.violations, 0), COALESCE(b.restarts, 0),"
		      " COALESCE(b.policy_version, 0) FROM agent a LEFT JOIN heartbeat b ON b.agent = a.id "
		      "ORDER BY a.id",
		      NULL, 0, give, &all, e);
	return rows < 0 ? (int)rows : 0;
}
