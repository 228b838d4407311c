/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "tensorguard/crypto.h"
#include "tgsp.h"

static const struct tg_cli_command commands[] = {
	{ "keygen", cmd_keygen, "NAME [--type p256|ed25519] [--passphrase-file FILE]",
	  "make NAME.key and NAME.pub" },
	{ "pack", cmd_pack,
	  "DIR|FILE... --out FILE --key KEYS --recipient PUBS --model NAME --model-version V --release N"
	  " [--days N] [--base HASH] [--segment BYTES] [--fleet NAMES] [--agent-version V] [--attested]"
	  " [--accelerator NAMES] [--offline SECONDS] [--parent HASHES] [--training-run TEXT] [--data-hash "
	  "HASH]"
	  " [--epsilon MICRO --delta PICO] [--passphrase-file FILE] [--at TIME]",
	  "make a package" },
	{ "inspect", cmd_inspect, "FILE", "show what a package says of itself; nothing is verified" },
	{ "verify", cmd_verify,
	  "FILE --signer PUBS [--threshold N] | --root FILE [--trust DIR] [--floor FILE --floor-key FILE] "
	  "[--at TIME]",
	  "check signatures and payload; no key is needed" },
	{ "open", cmd_open,
	  "FILE --key KEY [--passphrase-file FILE] --signer PUBS [--threshold N] | --root FILE [--trust DIR]"
	  " [--floor FILE --floor-key FILE] [--at TIME] [--extract DIR] [-- COMMAND {}...]",
	  "run a command on the files, in memory only, or extract them" },
	{ "recipients add", cmd_recipients_add,
	  "FILE --key KEY --recipient PUBS [--out FILE] [--passphrase-file FILE]",
	  "let further devices open a package" },
	{ "recipients remove", cmd_recipients_remove,
	  "FILE --key KEY --recipient PUBS|IDS [--out FILE] [--passphrase-file FILE]",
	  "leave devices out of a package" },
	{ "trust root", cmd_trust_root,
	  "--out FILE --key KEYS --root-keys N:PUBS --targets-keys N:PUBS --snapshot-keys N:PUBS"
	  " --timestamp-keys N:PUBS --package-keys N:PUBS [--previous FILE] [--days N] [--passphrase-file "
	  "FILE]"
	  " [--at TIME]",
	  "make a root, the first or the next" },
	{ "trust publish", cmd_trust_publish,
	  "FILE... --root FILE --trust DIR --key KEYS [--days N] [--passphrase-file FILE] [--at TIME]",
	  "name the packages that may be opened" },
	{ NULL, NULL, NULL, NULL },
};

#define OPTION(name, value, field)                                 \
	{                                                          \
		name, value, NULL, offsetof(struct options, field) \
	}

static const struct tg_cli_option options[] = {
	OPTION("out", "FILE", out),
	OPTION("type", "TYPE", type),
	OPTION("passphrase-file", "FILE", passphrase_file),
	OPTION("key", "KEYS", key),
	OPTION("recipient", "PUBS", recipient),
	OPTION("model", "NAME", model),
	OPTION("model-version", "VERSION", model_version),
	OPTION("release", "N", release),
	OPTION("days", "N", days),
	OPTION("base", "HASH", base),
	OPTION("segment", "BYTES", segment),
	OPTION("fleet", "NAMES", fleet),
	OPTION("agent-version", "VERSION", agent_version),
	OPTION("attested", NULL, attested),
	OPTION("accelerator", "NAMES", accelerator),
	OPTION("offline", "SECONDS", offline),
	OPTION("parent", "HASHES", parent),
	OPTION("training-run", "TEXT", training_run),
	OPTION("data-hash", "HASH", data_hash),
	OPTION("epsilon", "MICRO", epsilon),
	OPTION("delta", "PICO", delta),
	OPTION("root", "FILE", root),
	OPTION("trust", "DIR", trust),
	OPTION("signer", "PUBS", signer),
	OPTION("threshold", "N", threshold),
	OPTION("at", "TIME", at),
	OPTION("floor", "FILE", floor),
	OPTION("floor-key", "FILE", floor_key),
	OPTION("extract", "DIR", extract),
	OPTION("root-keys", "N:PUBS", root_keys),
	OPTION("targets-keys", "N:PUBS", targets_keys),
	OPTION("snapshot-keys", "N:PUBS", snapshot_keys),
	OPTION("timestamp-keys", "N:PUBS", timestamp_keys),
	OPTION("package-keys", "N:PUBS", package_keys),
	OPTION("previous", "FILE", previous),
	{ NULL, NULL, NULL, 0 },
};

/* Keys and plaintext pass through: no core file, no debugger of another process of the user's. */
static void harden(void)
{
	const struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int main(int argc, char **argv)
{
	static const struct tg_cli_program program = {
		.name = "tgsp",
		.about = "Makes, verifies and opens model packages.",
		.commands = commands,
		.options = options,
	};
	struct options given = { .out = NULL };

	harden();
	if (tg_crypto_wipe_freed()) {
		fputs("tgsp: OpenSSL cannot be made to wipe its memory\n", stderr);
		return EXIT_FAILURE;
	}
	return tg_cli_main(&program, &given, argc, argv);
}
