/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "identity.h"
#include "tensorguard/softkey.h"
#include "trust/exchange.h"
#include "trust/policy.h"

enum { DATE_LEN = 32, FD_MAX = 1 << 20 };

static const char *state_dir(const struct tg_cli *cli)
{
	const char *directory = agent_options(cli)->state_dir;

	return directory ? directory : TRUST_DIRECTORY;
}

static int no_arguments(const struct tg_cli *cli, struct tg_error *e)
{
	if (cli->arg_count)
		return tg_error(e, TG_CLI_USAGE, "%s: unexpected argument '%.60s'; see --help", cli->command,
				cli->args[0]);
	return 0;
}

/* ---- showing ---- */

/* By this machine's clock; the Platform's may differ by `skew`. */
static const char *state_of(const struct trust_identity *identity, int64_t now)
{
	if (identity->refused[0])
		return "refused";
	if (!trust_left(&identity->times, now))
		return "expired";
	return trust_renew_in(&identity->times, now) ? "valid" : "renewal due";
}

static bool in_force(const struct trust_identity *identity, int64_t now)
{
	return !identity->refused[0] && trust_left(&identity->times, now) > 0;
}

static const char *date(int64_t seconds, char text[static DATE_LEN])
{
	time_t t = seconds;
	struct tm tm;

	strftime(text, DATE_LEN, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
	return text;
}

static int serial_of(const struct trust_identity *identity, char ret_text[static TG_SERIAL_TEXT_LEN],
		     struct tg_error *e)
{
	BIO *bio = BIO_new_mem_buf(identity->certificate.data, (int)identity->certificate.len);
	X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	int ret = certificate ? tg_certificate_serial(certificate, ret_text, e)
			      : tg_error(e, -EBADMSG, "%s/certificate.pem: no certificate", identity->folder);

	X509_free(certificate);
	BIO_free(bio);
	return ret;
}

/* null: no request of the system-time loop yet, or nobody may see */
static json_t *sync_json(const struct trust_sync_note *note, int64_t now)
{
	if (!note->time)
		return json_null();
	return json_pack("{s:b, s:I, s:s?, s:I}", "good", note->good, "age", (json_int_t)(now - note->time),
			 "error", note->error[0] ? note->error : NULL, "period", (json_int_t)note->period);
}

static int show_json(const struct trust_identity *identity, const struct trust_sync_note *note,
		     const char *serial, int64_t now, const char *run_dir, struct tg_error *e)
{
	char issued[DATE_LEN], not_after[DATE_LEN];

	return tg_cli_print_json(
		json_pack(
			"{s:s, s:s, s:s, s:s, s:s, s:s, s:s?, s:s, s:s, s:s, s:I, s:I, s:I, s:s?, s:o, s:o}",
			"platform", identity->platform, "agent", identity->agent, "fleet", identity->fleet,
			"assurance", tg_assurance_name(identity->assurance), "state", state_of(identity, now),
			"keys", identity->software ? "software" : "tpm", "tpm",
			identity->software ? NULL : identity->tcti, "serial", serial, "issued",
			date(identity->times.issued, issued), "not_after",
			date(identity->times.not_after, not_after), "renews_in",
			(json_int_t)trust_renew_in(&identity->times, now), "left",
			(json_int_t)trust_left(&identity->times, now), "clock_skew",
			(json_int_t)identity->times.skew, "refused",
			identity->refused[0] ? identity->refused : NULL, "last_sync", sync_json(note, now),
			"tunnels", tunnel_keys_json(run_dir)),
		e);
}

static void print_sync(const struct trust_sync_note *note, int64_t now)
{
	if (!note->time)
		printf("last sync    none yet\n");
	else
		printf("last sync    %lld s ago, %s%s\n", (long long)(now - note->time),
		       note->good ? "good" : "failed: ", note->good ? "" : note->error);
	if (note->good && note->error[0])
		printf("refused      %s\n", note->error);
}

static int show_text(const struct trust_identity *identity, const struct trust_sync_note *note,
		     const char *serial, int64_t now, const char *run_dir, struct tg_error *e)
{
	char issued[DATE_LEN], not_after[DATE_LEN];

	printf("agent        %s\nfleet        %s\nplatform     %s\nassurance    %s\nkeys         %s%s%s\n",
	       identity->agent, identity->fleet, identity->platform, tg_assurance_name(identity->assurance),
	       identity->software ? "in software, encrypted" : "in the TPM", identity->tcti[0] ? " " : "",
	       identity->tcti);
	printf("certificate  %s\nissued       %s\nends         %s (in %lld s)\nrenewal      in %lld s\n",
	       serial, date(identity->times.issued, issued), date(identity->times.not_after, not_after),
	       (long long)trust_left(&identity->times, now),
	       (long long)trust_renew_in(&identity->times, now));
	if (identity->times.skew > TG_CLOCK_SKEW_SECONDS || identity->times.skew < -TG_CLOCK_SKEW_SECONDS)
		printf("clock        was %lld s off the Platform's\n", (long long)identity->times.skew);
	print_sync(note, now);
	tunnel_keys_print(run_dir, now);
	printf("state        %s%s%s\n", state_of(identity, now), identity->refused[0] ? ": " : "",
	       identity->refused);
	return fflush(stdout) || ferror(stdout) ? tg_error(e, -EIO, "cannot write to standard output") : 0;
}

static int show(const struct tg_cli *cli, const struct trust_identity *identity, struct tg_error *e)
{
	struct trust_sync_note note = { 0 };
	char serial[TG_SERIAL_TEXT_LEN];
	int64_t now = time(NULL);
	int ret = serial_of(identity, serial, e);

	if (ret)
		return ret;
	trust_sync_note_load(state_dir(cli), &note, NULL);
	ret = cli->json ? show_json(identity, &note, serial, now, agent_options(cli)->run_dir, e)
			: show_text(identity, &note, serial, now, agent_options(cli)->run_dir, e);
	if (ret || in_force(identity, now))
		return ret;
	return tg_error(e, TG_CLI_REPORTED, "the identity is %s", state_of(identity, now));
}

int cmd_identity(struct tg_cli *cli, struct tg_error *e)
{
	struct trust_identity identity = { 0 };
	int ret = no_arguments(cli, e);

	if (!ret)
		ret = trust_identity_load(state_dir(cli), &identity, e);
	if (!ret)
		ret = show(cli, &identity, e);
	trust_identity_clear(&identity);
	return ret;
}

/* ---- enrolment ---- */

static int take_secret(const struct tg_cli *cli, struct trust_enrolment *enrolment,
		       struct tg_bytes *ret_secret, struct tg_error *e)
{
	const char *text = agent_options(cli)->key_passphrase_fd;
	unsigned long fd;
	int ret;

	if (enrolment->software != (text != NULL))
		return tg_error(
			e, TG_CLI_USAGE,
			enrolment->software
				? "--tpm none needs --key-passphrase-fd: the key is kept encrypted"
				: "--key-passphrase-fd is for --tpm none: a TPM keeps its keys itself");
	if (!text)
		return 0;
	ret = tg_cli_parse_number(text, "--key-passphrase-fd", 0, FD_MAX, &fd, e);
	if (!ret)
		ret = tg_softkey_secret_from_fd((int)fd, ret_secret, e);
	enrolment->secret = ret_secret;
	return ret;
}

static int take_options(const struct tg_cli *cli, struct trust_enrolment *enrolment, struct tg_error *e)
{
	const struct agent_options *options = agent_options(cli);

	*enrolment = (struct trust_enrolment){
		.directory = state_dir(cli),
		.platform = options->platform,
		.token_file = options->token_file,
		.ca_file = options->ca,
		.software = options->tpm && !strcmp(options->tpm, "none"),
		.tcti = options->tpm,
		.event_log = options->event_log,
		.replace = options->replace,
	};
	if (!options->platform || !options->token_file)
		return tg_error(e, TG_CLI_USAGE,
				"enroll: --platform and --token-file are needed; see --help");
	if (enrolment->software && options->event_log)
		return tg_error(e, TG_CLI_USAGE, "enroll: --event-log is of no use without a TPM");
	return no_arguments(cli, e);
}

int cmd_enroll(struct tg_cli *cli, struct tg_error *e)
{
	struct trust_identity identity = { 0 };
	struct trust_enrolment enrolment;
	struct tg_bytes secret = { 0 };
	int ret = take_options(cli, &enrolment, e);

	if (!ret)
		ret = take_secret(cli, &enrolment, &secret, e);
	if (!ret)
		ret = trust_enrol(&enrolment, &identity, e);
	tg_bytes_free(&secret);
	if (!ret)
		ret = show(cli, &identity, e);
	trust_identity_clear(&identity);
	return ret;
}
