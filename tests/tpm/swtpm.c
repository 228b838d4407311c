/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "swtpm.h"

enum {
	PORT_TRIES = 50,
	FIRST_PORT = 20000,
	PORTS = 10000,
	STEP_US = 10000,
	STEPS = 3000,	/* half a minute, on a machine that is busy with something else */
};

static char folder[64], tcti[256];
static bool given; /* the TPM is not ours */
static pid_t swtpm;
static int port_used;

const char *swtpm_path(const char *name)
{
	static char paths[8][256];
	static unsigned next;
	char *path = paths[next++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

bool swtpm_shell(const char *format, ...)
{
	char command[4096], whole[4608];
	va_list args;
	int status;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	snprintf(whole, sizeof(whole), "cd %s && exec > log 2>&1 < /dev/null; set -e; %s", folder, command);
	status = system(whole);
	if (status) {
		snprintf(whole, sizeof(whole), "tail -n 20 %s/log >&2", folder);
		fprintf(stderr, "failed (%d): %s\n", status, command);
		if (system(whole))
			fprintf(stderr, "it printed nothing\n");
	}
	return status == 0;
}

void write_file(const char *name, const void *data, size_t len)
{
	FILE *f = fopen(swtpm_path(name), "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL(fwrite(data, 1, len, f), len);
	CU_ASSERT_EQUAL(fclose(f), 0);
}

struct tg_bytes read_file(const char *name)
{
	static uint8_t buffer[1 << 20];
	struct tg_bytes bytes = { 0 };
	FILE *f = fopen(swtpm_path(name), "r");

	if (!f)
		return bytes;
	tg_bytes_copy(buffer, fread(buffer, 1, sizeof(buffer), f), &bytes);
	fclose(f);
	return bytes;
}

static void stop(void)
{
	if (swtpm > 0) {
		kill(swtpm, SIGTERM);
		waitpid(swtpm, NULL, 0);
	}
	swtpm = 0;
}

static void clean_up(void)
{
	char command[128];

	stop();
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	if (!*folder || system(command))
		fprintf(stderr, "swtpm: %s is left behind\n", folder);
}

static bool manufacture(void)
{
	return swtpm_shell("\"$OLDPWD/scripts/lib/tpm-make\" ca state");
}

static bool reachable(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && !connect(fd, (struct sockaddr *)&to, sizeof(to));

	close(fd);
	return ok;
}

static void run_swtpm(int port)
{
	char state[128], server[64], control[64];
	int null = open("/dev/null", O_RDWR);

	snprintf(state, sizeof(state), "dir=%s/state", folder);
	snprintf(server, sizeof(server), "type=tcp,port=%d", port);
	snprintf(control, sizeof(control), "type=tcp,port=%d", port + 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state, "--server", server, "--ctrl",
	       control, "--flags", "not-need-init,startup-clear", NULL);
	_exit(127);
}

/* The ports may be taken by somebody else at any moment: then swtpm ends, and the next pair is tried. */
static bool serve(int port)
{
	swtpm = fork();
	if (swtpm == 0)
		run_swtpm(port);
	for (int i = 0; i < STEPS; i++) {
		if (waitpid(swtpm, NULL, WNOHANG) == swtpm)
			break;
		if (reachable(port + 1))
			return true;
		usleep(STEP_US);
	}
	swtpm = 0;
	return false;
}

static void tell_tools(const char *address)
{
	setenv("TPM2TOOLS_TCTI", address, 1);
	setenv("TPM2OPENSSL_TCTI", address, 1);
}

static bool use_given(void)
{
	const char *tools = getenv("TG_TEST_TOOLS_TCTI");

	snprintf(tcti, sizeof(tcti), "%s", getenv("TG_TEST_TCTI"));
	tell_tools(tools ? tools : tcti);
	return swtpm_shell("mkdir ca; cp \"$TG_TEST_EK_ROOTS\"/*cert.pem ca");
}

static bool start(void)
{
	unsigned draw;

	strcpy(folder, "/tmp/tensorguard-tpm.XXXXXX");
	if (!mkdtemp(folder)) {
		*folder = '\0';
		return false;
	}
	atexit(clean_up);
	given = getenv("TG_TEST_TCTI") != NULL;
	if (given)
		return use_given();
	if (!manufacture())
		return false;
	for (int i = 0; i < PORT_TRIES; i++) {
		int port;

		if (getrandom(&draw, sizeof(draw), 0) != sizeof(draw))
			return false;
		port = FIRST_PORT + 2 * (int)(draw % (PORTS / 2));
		if (reachable(port) || reachable(port + 1) || !serve(port))
			continue;
		port_used = port;
		snprintf(tcti, sizeof(tcti), "swtpm:host=127.0.0.1,port=%d", port);
		tell_tools(tcti);
		return true;
	}
	return false;
}

bool swtpm_given(void)
{
	swtpm_tcti();
	return given;
}

bool swtpm_skips(const char *reason)
{
	if (!swtpm_given())
		return false;
	harness_skip(reason);
	return true;
}

bool swtpm_restart(bool down)
{
	stop();
	return down || serve(port_used);
}

const char *swtpm_tcti(void)
{
	static int state;

	if (!state)
		state = start() ? 1 : -1;
	if (state < 0)
		fprintf(stderr, "swtpm: cannot be started\n");
	return state > 0 ? tcti : NULL;
}

struct tg_tpm *swtpm_open(void)
{
	struct tg_error e = { .message = "no swtpm" };
	struct tg_tpm *tpm = NULL;

	if (!swtpm_tcti() || tg_tpm_open(tcti, &tpm, &e))
		fprintf(stderr, "%s\n", e.message);
	CU_ASSERT_PTR_NOT_NULL_FATAL(tpm);
	return tpm;
}

int swtpm_loaded(void)
{
	struct tg_bytes lines;
	int count = 0;

	if (!swtpm_shell("for kind in transient loaded-session saved-session; do tpm2_getcap handles-$kind; "
			 "done > loaded"))
		return -1;
	lines = read_file("loaded");
	for (size_t i = 0; i < lines.len; i++)
		count += lines.data[i] == '\n';
	tg_bytes_free(&lines);
	return count;
}

void swtpm_hex(const uint8_t *data, size_t len, char *ret_text)
{
	for (size_t i = 0; i < len; i++)
		snprintf(ret_text + 2 * i, 3, "%02x", data[i]);
}

/* It writes a magic number and a version before the two structures. */
void swtpm_make_credential(const char *secret, const char *name, struct tg_bytes *ret_whole,
			   struct tg_bytes *ret_object, struct tg_bytes *ret_encrypted)
{
	struct tg_bytes whole;

	write_file("secret", secret, strlen(secret));
	CU_ASSERT(
		swtpm_shell("tpm2_makecredential --tcti=none -u ek.pub -s secret -n %s -o credential", name));
	whole = read_file("credential");
	CU_ASSERT_FATAL(whole.len > 12);
	*ret_object = (struct tg_bytes){ whole.data + 8, 2 + ((size_t)whole.data[8] << 8) + whole.data[9] };
	*ret_encrypted =
		(struct tg_bytes){ ret_object->data + ret_object->len, whole.len - 8 - ret_object->len };
	*ret_whole = whole;
}
