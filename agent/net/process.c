/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/ended.h"
#include "net/process.h"
#include "tensorguard/file.h"

enum { MAX_OUTPUT = 16 * 1024 * 1024, MAX_ENVIRONMENT = 8 };

static const char DEFAULT_PATH[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* Memory files instead of pipes: nothing to poll, nothing that can block or raise SIGPIPE. */
struct stdio {
	int fds[3];
};

static void stdio_close(struct stdio *stdio)
{
	for (int i = 0; i < 3; i++)
		if (stdio->fds[i] >= 0)
			close(stdio->fds[i]);
}

static int write_input(int fd, const char *input)
{
	int ret = tg_write_full(fd, input, strlen(input));

	if (ret)
		return ret;
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

static int stdio_open(const struct process *process, struct stdio *ret_stdio)
{
	struct stdio stdio = { { -1, -1, -1 } };
	int err = 0;

	for (int i = 0; i < 3; i++) {
		bool null = i == 0 ? !process->input : process->daemon;

		stdio.fds[i] =
			null ? open("/dev/null", O_RDWR | O_CLOEXEC) : memfd_create("stdio", MFD_CLOEXEC);
		if (stdio.fds[i] < 0)
			err = -errno;
	}
	if (!err && process->input)
		err = write_input(stdio.fds[0], process->input);
	if (err) {
		stdio_close(&stdio);
		return err;
	}
	*ret_stdio = stdio;
	return 0;
}

/*
 * For the process, and for the group that the scheduler makes of its session
 * (sched(7), "autogroup"), within which alone the former counts. Without the
 * permission it runs as others do: `tg-load check` says so.
 */
static void raise_priority(int nice)
{
	const char text[] = { '-', (char)('0' - nice / 10), (char)('0' - nice % 10) };
	int fd;

	if (setpriority(PRIO_PROCESS, 0, nice))
		return;
	fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;	/* a kernel without CONFIG_SCHED_AUTOGROUP */
	while (write(fd, text, sizeof(text)) < 0 && errno == EINTR)
		;
	close(fd);
}

/* Between fork() and exec(): only what is safe there. */
static void __attribute__((noreturn))
become(const struct process *process, const struct stdio *stdio, char *const environment[], int report)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	int high[3], last, err;
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		sigaction(s, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (process->daemon && (setsid() < 0 || chdir("/") < 0))
		goto fail;
	if (process->daemon && process->nice)
		raise_priority(process->nice);
	/* above the standard three first: one of ours may have a number below 3 */
	for (int i = 0; i < 3; i++) {
		high[i] = fcntl(stdio->fds[i], F_DUPFD_CLOEXEC, 3);
		if (high[i] < 0)
			goto fail;
	}
	/*
	 * above those, so that everything around it can be closed; exec() closes it, which tells that it
	 * worked
	 */
	last = fcntl(report, F_DUPFD_CLOEXEC, 3);
	if (last < 0)
		goto fail;
	report = last;
	for (int i = 0; i < 3; i++)
		if (dup2(high[i], i) < 0)
			goto fail;
	if (last > 3)
		close_range(3, (unsigned)last - 1, 0);
	close_range((unsigned)last + 1, ~0u, 0);
	execvpe(process->argv[0], (char *const *)process->argv, environment);
fail:
	err = errno;
	if (write(report, &err, sizeof(err)) < 0)
		_exit(126);
	_exit(127);
}

/* Waits for the end; kills it after the time-out. */
static int wait_end(pid_t pid, int timeout_ms, int *ret_status)
{
	struct pollfd end = { .fd = pidfd_open(pid, 0), .events = POLLIN };
	int status, ready;

	if (end.fd < 0)
		return -errno;
	do
		ready = poll(&end, 1, timeout_ms);
	while (ready < 0 && errno == EINTR);
	close(end.fd);
	if (!ready)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (!ready)
		return -ETIMEDOUT;
	*ret_status = ended_status(status);
	return 0;
}

static int start(const struct process *process, const struct stdio *stdio, char *const environment[],
		 pid_t *ret_pid)
{
	int report[2], failure = 0;
	ssize_t got;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (!pid)
		become(process, stdio, environment, report[1]);
	failure = pid < 0 ? errno : 0;
	close(report[1]);
	do
		got = pid < 0 ? 0 : read(report[0], &failure, sizeof(failure));
	while (got < 0 && errno == EINTR);
	close(report[0]);
	if (pid > 0 && failure)
		waitpid(pid, NULL, 0);
	if (failure)
		return -failure;
	*ret_pid = pid;
	return 0;
}

static int read_output(int fd, char **ret_text)
{
	struct stat info;
	size_t used = 0;
	char *text;

	if (fstat(fd, &info))
		return -errno;
	if (info.st_size > MAX_OUTPUT)
		return -EFBIG;
	text = malloc((size_t)info.st_size + 1);
	if (!text)
		return -ENOMEM;
	while (used < (size_t)info.st_size) {
		ssize_t got = pread(fd, text + used, (size_t)info.st_size - used, (off_t)used);

		if (got <= 0)
			break;
		used += (size_t)got;
	}
	text[used] = '\0';
	*ret_text = text;
	return 0;
}

static void first_line(const char *text, char *ret_line, size_t size)
{
	size_t len;

	text += strspn(text, " \t\r\n");
	len = strcspn(text, "\r\n");
	if (len >= size)
		len = size - 1;
	memcpy(ret_line, text, len);
	ret_line[len] = '\0';
}

static int gather(const struct process *process, const struct stdio *stdio, struct process_result *result)
{
	char *errors;
	int err;

	if (process->daemon)
		return 0;
	err = read_output(stdio->fds[2], &errors);
	if (err)
		return err;
	first_line(errors, result->message, sizeof(result->message));
	free(errors);
	return read_output(stdio->fds[1], &result->output);
}

int process_run(const struct process *process, struct process_result *ret_result, struct tg_error *e)
{
	const char *path = getenv("PATH");
	char own_path[PATH_MAX + 8], *environment[MAX_ENVIRONMENT + 3];
	struct process_result result = { .output = NULL };
	struct stdio stdio;
	size_t used = 0;
	pid_t pid = -1;
	int err;

	if (path && *path && (size_t)snprintf(own_path, sizeof(own_path), "PATH=%s", path) < sizeof(own_path))
		environment[used++] = own_path;
	else
		environment[used++] = (char *)DEFAULT_PATH;
	environment[used++] = (char *)"LC_ALL=C";
	for (size_t i = 0; process->environment && process->environment[i] && i < MAX_ENVIRONMENT; i++)
		environment[used++] = (char *)process->environment[i];
	environment[used] = NULL;
	err = stdio_open(process, &stdio);
	if (err)
		return tg_error(e, err, "cannot run %s: %s", process->argv[0], strerror(-err));
	err = start(process, &stdio, environment, &pid);
	if (!err)
		err = wait_end(pid, process->timeout_ms, &result.status);
	if (!err)
		err = gather(process, &stdio, &result);
	stdio_close(&stdio);
	if (err == -ENOENT)
		return tg_error(e, err, "%s: no such program (is it installed?)", process->argv[0]);
	if (err == -ETIMEDOUT)
		return tg_error(e, err, "%s: not done after %d s, killed", process->argv[0],
				process->timeout_ms / 1000);
	if (err)
		return tg_error(e, err, "cannot run %s: %s", process->argv[0], strerror(-err));
	*ret_result = result;
	return 0;
}
