/* SPDX-License-Identifier: BSD-3-Clause */
/* How the keys of tunnels are, as the agent's process keys has put it down. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "identity.h"
#include "keys/exchange.h"
#include "tensorguard/file.h"

/* An agent that runs no such process has no such file. */
json_t *tunnel_keys_json(const char *run_dir)
{
	struct tg_bytes text = { 0 };
	char path[PATH_MAX];
	json_t *root, *tunnels;

	if (snprintf(path, sizeof(path), "%s/" KEYS_FILE, run_dir) >= (int)sizeof(path) ||
	    tg_file_read(path, KEYS_FILE_MAX, &text, NULL))
		return json_array();
	root = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
	tg_bytes_free(&text);
	tunnels = json_object_get(root, "tunnels");
	tunnels = json_is_array(tunnels) ? json_incref(tunnels) : json_array();
	json_decref(root);
	return tunnels;
}

static int64_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void print_tunnel(const json_t *tunnel, int64_t now)
{
	const char *failure = json_text(tunnel, "failure");
	const json_t *peer;
	size_t i;

	printf("tunnel %-5s key %s, number %lld, for %lld s%s\n", json_text(tunnel, "tunnel"),
	       json_text(tunnel, "current"), (long long)number_of(tunnel, "epoch"),
	       (long long)(now - number_of(tunnel, "made")),
	       json_is_true(json_object_get(tunnel, "published")) ? "" : ", not published");
	if (number_of(tunnel, "rotation"))
		printf("             changes every %lld s%s%s%s%s\n",
		       (long long)number_of(tunnel, "rotation"), *json_text(tunnel, "next") ? "; next " : "",
		       json_text(tunnel, "next"), *failure ? "; last failure: " : "", failure);
	json_array_foreach(json_object_get(tunnel, "peers"), i, peer)
		printf("             peer %s: %s\n", json_text(peer, "agent"),
		       *json_text(peer, "key") ? json_text(peer, "key") : "no key");
}

void tunnel_keys_print(const char *run_dir, int64_t now)
{
	json_t *tunnels = tunnel_keys_json(run_dir);
	const json_t *tunnel;
	size_t i;

	json_array_foreach(tunnels, i, tunnel) print_tunnel(tunnel, now);
	json_decref(tunnels);
}
