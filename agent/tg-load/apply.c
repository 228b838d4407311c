/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tg-load apply: puts in force what the Platform last signed for this device.
 *
 * The state folder belongs to the agent's process trust, which talks to the network: what is in it is taken
 * as if an enemy had put it there. STATE_DIR-applied is root's: who this device is and which key signs its
 * policies, pinned when apply first ran here, and the last policy that was put in force, which is also the
 * lowest version that is taken. Signatures are verified at each run.
 */
#include <errno.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "apply.h"
#include "common/untrusted.h"
#include "tensorguard/base64.h"
#include "tensorguard/file.h"

#define SITE_FILE "/etc/tensorguard/site.conf"

enum { SMALL_MAX = 16384, PIN_FORMAT = 1 };

static int read_below(const struct apply *a, const char *folder, const char *name, size_t max,
		      struct tg_bytes *ret_bytes, struct tg_error *e)
{
	int fd = untrusted_open(a->state_dir, folder, name, e), ret;

	if (fd < 0)
		return fd;
	ret = tg_file_read_fd(fd, name, max, ret_bytes, e);
	close(fd);
	return ret;
}

/* ---- what root keeps ---- */

static int keep_path(const struct apply *a, const char *name, char ret_path[static PATH_MAX],
		     struct tg_error *e)
{
	if (snprintf(ret_path, PATH_MAX, "%s/%s", a->keep, name) >= PATH_MAX)
		return tg_error(e, -ENAMETOOLONG, "%s: the path is too long", a->state_dir);
	return 0;
}

int apply_find_keep(struct apply *a, struct tg_error *e)
{
	size_t len = strlen(a->state_dir);

	while (len > 1 && a->state_dir[len - 1] == '/')
		len--;
	if (snprintf(a->keep, sizeof(a->keep), "%.*s-applied", (int)len, a->state_dir) >=
	    (int)sizeof(a->keep))
		return tg_error(e, -ENAMETOOLONG, "%s: the path is too long", a->state_dir);
	return keep_path(a, "policy.conf", a->text, e);
}

static int open_keep(struct apply *a, struct tg_error *e)
{
	struct stat st;
	int ret = apply_find_keep(a, e);

	if (ret)
		return ret;
	if (mkdir(a->keep, 0700) && errno != EEXIST)
		return tg_error(e, -errno, "%s: %s", a->keep, strerror(errno));
	if (lstat(a->keep, &st))
		return tg_error(e, -errno, "%s: %s", a->keep, strerror(errno));
	if (!S_ISDIR(st.st_mode) || st.st_uid != 0 || st.st_mode & 022)
		return tg_error(e, -EPERM, "%s: expected a folder that root alone can write to", a->keep);
	return 0;
}

static int parse_pin(const struct tg_bytes *text, struct pin *ret_pin, struct tg_error *e)
{
	const char *agent, *fleet, *key;
	json_t *root = json_loadb((const char *)text->data, text->len, JSON_REJECT_DUPLICATES, NULL);
	uint8_t der[TG_SPKI_MAX_LEN];
	int format, ret = 0;
	size_t len;

	if (json_unpack(root, "{s:i, s:s, s:s, s:s !}", "format", &format, "agent", &agent, "fleet", &fleet,
			"policy_key", &key) ||
	    format != PIN_FORMAT || !tg_id_valid(agent) || !tg_id_valid(fleet) ||
	    tg_base64_decode(key, strlen(key), der, sizeof(der), &len))
		ret = tg_error(e, -EBADMSG, "pin.json: not as it was written");
	if (!ret && tg_bytes_copy(der, len, &ret_pin->key))
		ret = tg_error(e, -ENOMEM, "out of memory");
	if (!ret) {
		strcpy(ret_pin->agent, agent);
		strcpy(ret_pin->fleet, fleet);
	}
	json_decref(root);
	return ret;
}

static int load_pin(struct apply *a, struct tg_error *e)
{
	struct tg_bytes text = { 0 };
	char path[PATH_MAX];
	int ret = keep_path(a, "pin.json", path, e);

	if (!ret)
		ret = tg_file_read(path, SMALL_MAX, &text, e);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	ret = parse_pin(&text, &a->pin, e);
	tg_bytes_free(&text);
	a->pinned = !ret;
	return ret;
}

/* ---- the first time ---- */

/* Names of the identity that is in force; its certificate has not been looked at. */
static int read_names(const struct tg_bytes *text, struct pin *pin, struct tg_error *e)
{
	json_t *root = json_loadb((const char *)text->data, text->len, JSON_REJECT_DUPLICATES, NULL);
	const char *agent = json_string_value(json_object_get(root, "agent"));
	const char *fleet = json_string_value(json_object_get(root, "fleet"));
	bool good = agent && fleet && strlen(agent) < TG_ID_LEN && strlen(fleet) < TG_ID_LEN &&
		    tg_id_valid(agent) && tg_id_valid(fleet);

	if (good) {
		strcpy(pin->agent, agent);
		strcpy(pin->fleet, fleet);
	}
	json_decref(root);
	return good ? 0 : tg_error(e, -EBADMSG, "identity.json: it names nobody");
}

static int save_pin(const struct apply *a, struct tg_error *e)
{
	char key[TG_BASE64_LEN(TG_SPKI_MAX_LEN) + 1], path[PATH_MAX], *text;
	json_t *root;
	int ret = keep_path(a, "pin.json", path, e);

	if (ret)
		return ret;
	tg_base64_encode(a->pin.key.data, a->pin.key.len, key);
	root = json_pack("{s:i, s:s, s:s, s:s}", "format", PIN_FORMAT, "agent", a->pin.agent, "fleet",
			 a->pin.fleet, "policy_key", key);
	text = json_dumps(root, JSON_INDENT(2));
	ret = text ? tg_file_replace(path, text, strlen(text), 0600, e)
		   : tg_error(e, -ENOMEM, "out of memory");
	free(text);
	json_decref(root);
	return ret;
}

/* From the identity that tgctl enroll made, once; -ENOENT: there is none, or one without a policy key. */
static int make_pin(struct apply *a, struct tg_error *e)
{
	unsigned generation = trust_generation(a->state_dir);
	struct tg_bytes identity = { 0 };
	char folder[64];
	int ret;

	if (!generation)
		return tg_error(e, -ENOENT, "%s has no identity", a->state_dir);
	snprintf(folder, sizeof(folder), "generation-%u", generation);
	ret = read_below(a, folder, "identity.json", SMALL_MAX, &identity, e);
	if (!ret)
		ret = read_names(&identity, &a->pin, e);
	if (!ret)
		ret = read_below(a, folder, "policy-key.der", TG_SPKI_MAX_LEN, &a->pin.key, e);
	tg_bytes_free(&identity);
	if (!ret)
		ret = save_pin(a, e);
	a->pinned = !ret;
	return ret;
}

/* ---- policies ---- */

static struct tg_policy_holder holder_of(const struct apply *a)
{
	return (struct tg_policy_holder){ .key = &a->pin.key,
					  .agent = a->pin.agent,
					  .fleet = a->pin.fleet,
					  .floor = a->has_kept ? a->kept.version : 0 };
}

int apply_read_kept(struct apply *a, struct tg_error *e)
{
	struct tg_bytes text = { 0 };
	char path[PATH_MAX];
	int ret = keep_path(a, "policy.json", path, e);

	if (!ret)
		ret = tg_file_read(path, TG_SIGNED_POLICY_MAX, &text, e);
	if (!ret)
		ret = tg_signed_policy_decode(text.data, text.len, &a->kept, e);
	tg_bytes_free(&text);
	return ret;
}

static int load_kept(struct apply *a, struct tg_error *e)
{
	struct tg_policy_holder holder = holder_of(a);
	int ret = apply_read_kept(a, e);

	if (ret == -ENOENT)
		return 0;
	if (!ret && tg_signed_policy_verify(&a->kept, &holder, e))
		ret = tg_error_prefix(e, -EKEYREJECTED, "%s/policy.json", a->keep);
	a->has_kept = !ret;
	return ret;
}

static bool is_kept(const struct apply *a)
{
	uint8_t offer[TG_SHA256_LEN], kept[TG_SHA256_LEN];

	return a->has_kept && !tg_signed_policy_hash(&a->offer, offer, NULL) &&
	       !tg_signed_policy_hash(&a->kept, kept, NULL) && !memcmp(offer, kept, sizeof(kept));
}

/* What trust put down. One that is refused is no reason to leave what is in force. */
static void load_offer(struct apply *a)
{
	struct tg_policy_holder holder = holder_of(a);
	struct tg_error e = { "" };
	struct tg_bytes text = { 0 };
	int ret = read_below(a, TRUST_POLICY_FOLDER, TRUST_POLICY_FILE, TG_SIGNED_POLICY_MAX, &text, &e);

	if (ret == -ENOENT)
		return;
	if (!ret)
		ret = tg_signed_policy_decode(text.data, text.len, &a->offer, &e);
	tg_bytes_free(&text);
	if (!ret && tg_signed_policy_verify(&a->offer, &holder, &e))
		ret = -EKEYREJECTED;
	if (!ret && is_kept(a))
		return;
	if (!ret && tg_signed_policy_admit(&a->offer, &holder, time(NULL), &e))
		ret = -EKEYREJECTED;
	a->has_offer = !ret;
	if (ret)
		snprintf(a->offer_error, sizeof(a->offer_error), "%s", e.message);
}

static void load_revoked(struct apply *a)
{
	struct tg_bytes text = { 0 };
	struct tg_error e;
	int ret = read_below(a, TRUST_POLICY_FOLDER, TRUST_REVOKED_FILE, TRUST_POLICY_REASON_LEN - 1, &text,
			     &e);

	if (ret == -ENOENT)
		return;
	snprintf(a->revoked, sizeof(a->revoked), "%.*s", text.len ? (int)text.len : 1,
		 text.len ? (const char *)text.data : "?");
	/* what follows is trust's own */
	a->revoked[1 + strcspn(a->revoked + 1, "\n")] = '\0';
	for (char *c = a->revoked; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	tg_bytes_free(&text);
}

/* ---- bringing about ---- */

static bool is_there(const char *path, const struct tg_bytes *text)
{
	struct tg_bytes old = { 0 };
	bool same = !tg_file_read(path, text->len, &old, NULL) && old.len == text->len &&
		    !memcmp(old.data, text->data, old.len);

	tg_bytes_free(&old);
	return same;
}

/* The same bytes are not written again: at boot the disk may be full, or read-only. */
int apply_place_text(struct apply *a, const struct tg_signed_policy *policy, const char **ret_path,
		     struct tg_error *e)
{
	const struct tg_bytes *text = &policy->text;
	struct tg_error why;
	int ret = 0;

	if (is_there(a->text, text) || !tg_file_replace(a->text, text->data, text->len, 0600, &why)) {
		*ret_path = a->text;
		return 0;
	}
	snprintf(a->keep_error, sizeof(a->keep_error), "%s", why.message);
	snprintf(a->spare, sizeof(a->spare), "%.*s/" STATE_TEXT, PATH_MAX - (int)sizeof("/" STATE_TEXT),
		 a->session.in.run_dir);
	ret = tg_file_replace(a->spare, text->data, text->len, 0600, e);
	if (!ret)
		*ret_path = a->spare;
	return ret;
}

int apply_choose_site(const struct apply *a, char **ret_site, struct tg_error *e)
{
	const char *given = a->options->site;
	char *policy = NULL, *site = NULL;
	int ret = 0;

	if (!state_check_up(a->session.in.run_dir, NULL))
		ret = state_paths(a->session.in.run_dir, &policy, &site, e);
	else if (given || !access(SITE_FILE, F_OK))
		site = strdup(given ? given : SITE_FILE);
	free(policy);
	if (!ret)
		*ret_site = site;
	return ret;
}

static int put_in_force(struct apply *a, const struct tg_signed_policy *policy, const char *site,
			struct tg_error *e)
{
	char reason[LOCKDOWN_REASON_LEN];
	bool locked = lockdown_is_on(a->session.in.run_dir, reason), same = false;
	const char *text;
	int ret = apply_place_text(a, policy, &text, e);

	if (!ret && !state_check_up(a->session.in.run_dir, NULL))
		ret = state_same(a->session.in.run_dir, text, site, &same, e);
	if (ret || (same && !locked))
		return ret;
	ret = session_switch(&a->session, text, site, e);
	return ret ? ret : lockdown_unmark(a->session.in.run_dir, e);
}

static int take_away(struct apply *a, struct tg_error *e)
{
	int ret = state_remove(a->session.in.run_dir, e);

	a->done = "down";
	if (!ret)
		ret = instance_bring_down(&a->session.in, e);
	a->session.removed = !ret;
	return ret;
}

static int save_kept(struct apply *a, struct tg_error *e)
{
	struct tg_bytes document = { 0 };
	char path[PATH_MAX];
	int ret = keep_path(a, "policy.json", path, e);

	if (!ret)
		ret = tg_signed_policy_encode(&a->offer, &document, e);
	if (!ret)
		ret = tg_file_replace(path, document.data, document.len, 0600, e);
	tg_bytes_free(&document);
	return ret;
}

static int enforce(struct apply *a, const struct tg_signed_policy *policy, const char *site,
		   struct tg_error *e)
{
	char reason[LOCKDOWN_REASON_LEN];

	snprintf(reason, sizeof(reason), "the Platform's policy version %lld says so",
		 (long long)policy->version);
	if (policy->kind == TG_POLICY_LOCKDOWN)
		return apply_lock_down(a, policy, reason, site, e);
	a->done = "up";
	return put_in_force(a, policy, site, e);
}

/* What was put in force earlier, at whatever time it is now. */
static int go_on(struct apply *a, const char *site, struct tg_error *e)
{
	const struct tg_signed_policy *kept = &a->kept;
	char reason[LOCKDOWN_REASON_LEN];

	if (kept->not_after > time(NULL) || kept->offline == TG_OFFLINE_HOLD ||
	    kept->kind == TG_POLICY_LOCKDOWN)
		return enforce(a, kept, site, e);
	if (apply_ended_open(a))
		return take_away(a, e);
	snprintf(reason, sizeof(reason), "policy version %lld has ended, and nothing newer has come",
		 (long long)kept->version);
	return apply_lock_down(a, kept, reason, site, e);
}

/* A new policy that cannot be put in force leaves the old one there; a lockdown that fails half-way stays as
 * far as it came, and the next call goes on with it. */
static int take_offer(struct apply *a, const char *site, struct tg_error *e)
{
	struct tg_error why = { "" };
	int ret = enforce(a, &a->offer, site, &why);

	if (!ret)
		return save_kept(a, e);
	if (a->has_kept && a->offer.kind != TG_POLICY_LOCKDOWN && go_on(a, site, e))
		return tg_error_prefix(e, ret, "policy version %lld: %s; and the former one",
				       (long long)a->offer.version, why.message);
	return tg_error(e, ret, "policy version %lld is not put in force: %s", (long long)a->offer.version,
			why.message);
}

static int fall_back(struct apply *a, struct tg_error *e)
{
	const struct agent_options *options = a->options;
	int ret;

	if (!options->policy) {
		a->done = "nothing";
		return 0;
	}
	a->done = "up";
	ret = lockdown_check(a->session.in.run_dir, e);
	return ret ? ret : session_up(&a->session, options->policy, options->site, e);
}

static int decide(struct apply *a, struct tg_error *e)
{
	const struct tg_signed_policy *known = a->has_offer ? &a->offer : a->has_kept ? &a->kept : NULL;
	char *site = NULL, reason[LOCKDOWN_REASON_LEN];
	int ret = apply_choose_site(a, &site, e);

	snprintf(reason, sizeof(reason), "the Platform refuses this device: %s", a->revoked);
	if (!ret && a->revoked[0])
		ret = apply_lock_down(a, known, reason, site, e);
	else if (!ret && a->has_offer)
		ret = take_offer(a, site, e);
	else if (!ret && a->has_kept)
		ret = go_on(a, site, e);
	else if (!ret)
		ret = fall_back(a, e);
	free(site);
	return ret;
}

/* ---- the command ---- */

/* The revocation first: it holds whatever else can be loaded. */
static int load_all(struct apply *a, struct tg_error *e)
{
	int ret;

	load_revoked(a);
	ret = open_keep(a, e);
	if (!ret)
		ret = load_pin(a, e);
	if (!ret && !a->pinned)
		ret = make_pin(a, e);
	/* not enrolled, or by an agent that knew nothing of policies */
	if (ret == -ENOENT)
		ret = 0;
	if (ret || !a->pinned)
		return ret;
	ret = load_kept(a, e);
	if (!ret)
		load_offer(a);
	return ret;
}

static int print_done(const struct tg_cli *cli, const struct apply *a, struct tg_error *e)
{
	const struct tg_signed_policy *policy = a->has_offer ? &a->offer : a->has_kept ? &a->kept : NULL;

	if (cli->json)
		return tg_cli_print_json(json_pack("{s:s, s:I, s:s?, s:s*}", "state", a->done,
						   "policy_version",
						   (json_int_t)(policy ? policy->version : 0), "refused",
						   a->offer_error[0] ? a->offer_error : NULL, "not_kept",
						   a->keep_error[0] ? a->keep_error : NULL),
					 e);
	return 0;
}

static void clear(struct apply *a)
{
	tg_bytes_free(&a->pin.key);
	tg_signed_policy_clear(&a->kept);
	tg_signed_policy_clear(&a->offer);
	free(a);
}

static int load_and_decide(struct apply *a, struct tg_error *e)
{
	struct tg_error why = { "" };
	int loaded = load_all(a, &why), ret = 0;

	/* a revocation is not for what can be loaded alone */
	if (!loaded || a->revoked[0])
		ret = decide(a, e);
	return !ret && loaded ? tg_error(e, loaded, "%s", why.message) : ret;
}

/* Whatever goes wrong from the lock on, nothing that is to stay in gets out because of it. */
static int run(struct apply *a, const struct tg_cli *cli, struct tg_error *e)
{
	int ret = state_lock(a->options->run_dir, &a->session.lock_fd, e);

	if (!ret)
		ret = load_and_decide(a, e);
	if (ret)
		return apply_stay_closed(a, ret, e);
	ret = print_done(cli, a, e);
	/* what is in force is enforced; but somebody should look at this */
	if (!ret && a->offer_error[0])
		ret = tg_error(e, TG_CLI_REPORTED, "%s", a->offer_error);
	else if (!ret && a->keep_error[0])
		ret = tg_error(e, TG_CLI_REPORTED, "%s", a->keep_error);
	return ret;
}

int cmd_apply(struct tg_cli *cli, struct tg_error *e)
{
	struct apply *a = calloc(1, sizeof(*a));
	int ret;

	if (!a)
		return tg_error(e, -ENOMEM, "out of memory");
	a->options = agent_options(cli);
	a->state_dir = a->options->state_dir ? a->options->state_dir : TRUST_DIRECTORY;
	ret = session_open(&a->session, cli, e);
	a->session.falls_closed = true;
	if (!ret)
		ret = run(a, cli, e);
	if (a->spare[0])
		unlink(a->spare);
	session_close(&a->session);
	clear(a);
	return ret;
}
