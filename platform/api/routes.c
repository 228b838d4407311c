/* SPDX-License-Identifier: BSD-3-Clause */
#include "api/platform.h"
#include "tensorguard/sync.h"

/* Public areas and EK certificates in base64. */
enum { START_MAX = 64 * 1024, REVOKE_MAX = 4096 };

const struct route platform_routes[] = {
	{ EVHTTP_REQ_GET, "/healthz", ROUTE_ANYBODY, 0, get_healthz },
	{ EVHTTP_REQ_GET, "/metrics", ROUTE_OPERATOR, 0, get_metrics },
	{ EVHTTP_REQ_GET, "/checkpoint", ROUTE_ANYBODY, 0, get_checkpoint },
	/* the more special one first */
	{ EVHTTP_REQ_GET, "/tile/entries/{...}", ROUTE_OPERATOR, 0, get_entries },
	{ EVHTTP_REQ_GET, "/tile/{...}", ROUTE_ANYBODY, 0, get_tile },
	{ EVHTTP_REQ_POST, "/v1/enrol/start", ROUTE_ANYBODY, START_MAX, post_enrol_start },
	{ EVHTTP_REQ_POST, "/v1/enrol/finish", ROUTE_ANYBODY, TG_ENROL_BODY_MAX, post_enrol_finish },
	{ EVHTTP_REQ_POST, "/v1/renew/start", ROUTE_AGENT_LATE, START_MAX, post_renew_start },
	{ EVHTTP_REQ_POST, "/v1/renew/finish", ROUTE_AGENT_LATE, TG_ENROL_BODY_MAX, post_renew_finish },
	{ EVHTTP_REQ_POST, "/v1/sync", ROUTE_AGENT, TG_SYNC_REQUEST_MAX, post_sync },
	{ EVHTTP_REQ_GET, "/", ROUTE_OPERATOR, 0, get_page },
	{ EVHTTP_REQ_GET, "/app.js", ROUTE_OPERATOR, 0, get_page },
	{ EVHTTP_REQ_GET, "/app.css", ROUTE_OPERATOR, 0, get_page },
	{ EVHTTP_REQ_GET, "/v1/fleet/agents", ROUTE_OPERATOR, 0, get_fleet_agents },
	{ EVHTTP_REQ_GET, "/v1/fleet/agents/{id}", ROUTE_OPERATOR, 0, get_fleet_agent },
	{ EVHTTP_REQ_POST, "/v1/fleet/agents/{id}/revoke", ROUTE_OPERATOR, REVOKE_MAX, post_fleet_revoke },
	{ EVHTTP_REQ_GET, "/v1/fleet/models", ROUTE_OPERATOR, 0, get_fleet_models },
	{ EVHTTP_REQ_GET, "/v1/fleet/releases", ROUTE_OPERATOR, 0, get_fleet_releases },
	{ EVHTTP_REQ_GET, "/v1/fleet/alerts", ROUTE_OPERATOR, 0, get_fleet_alerts },
	{ EVHTTP_REQ_GET, "/v1/fleet/audit", ROUTE_OPERATOR, 0, get_fleet_audit },
	{ EVHTTP_REQ_GET, "/v1/blobs/{hash}", ROUTE_AGENT, 0, get_blob },
	{ EVHTTP_REQ_HEAD, "/v1/blobs/{hash}", ROUTE_AGENT, 0, get_blob },
	{ 0 },
};
