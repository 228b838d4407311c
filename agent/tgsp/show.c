/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/package_json.h"
#include "tgsp.h"

int package_open(const char *path, struct package *ret_package, struct tg_error *e)
{
	struct package p = { .fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) };
	int ret;

	if (p.fd < 0)
		return tg_error(e, -errno, "%s: %s", path, strerror(errno));
	(void)posix_fadvise(p.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	ret = tg_tgsp_read(p.fd, &p.tgsp, e);
	if (ret) {
		package_close(&p);
		return tg_error_prefix(e, ret, "%s", path);
	}
	*ret_package = p;
	return 0;
}

void package_close(struct package *package)
{
	tg_tgsp_free(package->tgsp);
	if (package->fd >= 0)
		close(package->fd);
	*package = (struct package){ .fd = -1 };
}

static void print_time(const char *what, uint64_t time)
{
	time_t t = (time_t)time;
	char text[64] = "";
	struct tm tm;

	if (time > 253402300799 || !gmtime_r(&t, &tm) || !strftime(text, sizeof(text), "%F %T UTC", &tm))
		printf("%-12s %" PRIu64 "\n", what, time);
	else
		printf("%-12s %s\n", what, text);
}

static void print_hash(const char *what, const uint8_t *hash, size_t len)
{
	char text[HASH_TEXT];

	printf("%-12s %s\n", what, hex(hash, len, text));
}

static void print_names(const char *what, const struct tg_tgsp_names *names)
{
	if (!names->count)
		return;
	printf("%-12s", what);
	for (size_t i = 0; i < names->count; i++)
		printf(" %s", names->names[i]);
	printf("\n");
}

static void print_policy(const struct tg_tgsp_manifest *m)
{
	print_names("fleets", &m->policy.fleets);
	print_names("accelerators", &m->policy.accelerators);
	if (m->policy.agent_version[0])
		printf("%-12s %s or newer\n", "agent", m->policy.agent_version);
	if (m->policy.attested)
		printf("%-12s only attested devices\n", "attested");
	if (m->policy.offline_s)
		printf("%-12s %" PRIu64 " s\n", "offline", m->policy.offline_s);
}

static void print_lineage(const struct tg_tgsp_manifest *m)
{
	for (size_t i = 0; i < m->lineage.parent_count; i++)
		print_hash("parent", m->lineage.parents[i], TG_SHA256_LEN);
	if (m->lineage.training_run[0])
		printf("%-12s %s\n", "training run", m->lineage.training_run);
	if (m->lineage.has_data)
		print_hash("data set", m->lineage.data, TG_SHA256_LEN);
	if (m->lineage.has_privacy)
		printf("%-12s epsilon %" PRIu64 "e-6, delta %" PRIu64 "e-12\n", "privacy",
		       m->lineage.epsilon_micro, m->lineage.delta_pico);
}

static void print_package(const struct tg_tgsp *p)
{
	const struct tg_tgsp_manifest *m = tg_tgsp_manifest(p);
	const struct tg_cose *cose = tg_tgsp_signatures(p);

	printf("%-12s %s %s, release %" PRIu64 "\n", "model", m->model, m->version, m->release);
	print_hash("manifest", tg_tgsp_manifest_hash(p), TG_SHA256_LEN);
	print_hash("package id", m->package_id, TG_TGSP_ID_LEN);
	print_time("not before", m->not_before);
	print_time("not after", m->not_after);
	if (m->has_base)
		print_hash("base model", m->base, TG_SHA256_LEN);
	print_policy(m);
	print_lineage(m);
	for (size_t i = 0; i < cose->count; i++)
		print_hash("signer", cose->signatures[i].key_id, TG_KEY_ID_LEN);
	for (size_t i = 0; i < tg_tgsp_recipient_count(p); i++)
		print_hash("recipient", tg_tgsp_recipient_id(p, i), TG_KEY_ID_LEN);
	for (size_t i = 0; i < m->file_count; i++)
		printf("%-12s %14" PRIu64 "  %s\n", "file", m->files[i].size, m->files[i].path);
	printf("%-12s nothing of this: see tgsp verify\n", "verified");
}

int cmd_inspect(struct tg_cli *cli, struct tg_error *e)
{
	struct package p;
	int ret = one_argument(cli, "one package", e);

	if (!ret)
		ret = package_open(cli->args[0], &p, e);
	if (ret)
		return ret;
	if (cli->json) {
		ret = tg_cli_print_json(package_json(p.tgsp), e);
	} else {
		print_package(p.tgsp);
		ret = flush_output(e);
	}
	package_close(&p);
	return ret;
}

int cmd_verify(struct tg_cli *cli, struct tg_error *e)
{
	struct package p = { .fd = -1 };
	char text[HASH_TEXT];
	struct trust trust;
	struct bar bar;
	int ret = one_argument(cli, "one package", e);

	if (!ret)
		ret = trust_init(options_of(cli), &trust, e);
	if (ret)
		return ret;
	ret = package_open(cli->args[0], &p, e);
	if (!ret)
		ret = tg_tgsp_accept(p.tgsp, &trust.rules, e);
	if (!ret) {
		bar_init(&bar, cli, "verifying");
		ret = tg_tgsp_verify(p.tgsp, &bar.progress, e);
		bar_end(&bar);
	}
	if (!ret) {
		hex(tg_tgsp_manifest_hash(p.tgsp), TG_SHA256_LEN, text);
		if (cli->json) {
			ret = tg_cli_print_json(json_pack("{s:b, s:s}", "verified", 1, "manifest", text), e);
		} else {
			printf("verified\nmanifest %s\n", text);
			ret = flush_output(e);
		}
	}
	package_close(&p);
	trust_free(&trust);
	return ret;
}
