/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plays captured or generated sessions as real TCP connections, both ends in
 * one process (one thread each), closed loop: a side sends its next message
 * when everything that the other side sent before it in the trace has arrived
 * and the trace's think time has passed since. One clock times both ends, so
 * the delay of each message is known without synchronisation.
 *
 * Because each side waits for all that comes before, both walk through the
 * same list of messages in the same order, and a message never arrives at a
 * side that is not already waiting for it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/message.h"
#include "common/quantile.h"
#include "common/tool.h"
#include "common/trace.h"

#define PROGRAM "tg-replay"

/* how often a waiting side looks whether the other one has failed */
enum { POLL_MS = 200 };

/* a robot that answers so soon has not waited for its tick */
enum { AT_ONCE_NS = 1000000 };

struct message {
	uint32_t session;
	int direction;		/* TRACE_TO_* */
	uint32_t bytes;
	int64_t think_ns;	/* since the message before it, or the connection */
	int64_t trace_ns;	/* since the session's first packet */
	int64_t sent_ns, received_ns; /* CLOCK_MONOTONIC; 0 = not yet */
};

struct session {
	const char *path;
	size_t first, count;	/* its messages */
	int64_t trace_ns;	/* how long it lasts in the trace */
	int64_t started_ns, ended_ns; /* CLOCK_MONOTONIC, by the client */
	int64_t started_real_us; /* CLOCK_REALTIME, to find it in a capture */
};

struct replay {
	struct tool_ends ends;
	const char *delays_path;
	bool robot_listens, want_rt;
	double gap_s, timeout_s, max_s, tick_us;
	uint64_t seed;
	struct message *messages;
	size_t message_count;
	struct session *sessions;
	size_t session_count;
	int64_t deadline_ns;
	sem_t listening;
	atomic_bool failed;
};

struct side {
	struct replay *replay;
	bool listens;
	int sends;		/* direction of the messages that this side sends */
	bool rt;		/* got the real-time priority */
	uint8_t *buf, *expected;
	int ret;
	struct tg_error error;
};

/* ---- waiting ---- */

static int check_going(struct side *side)
{
	if (atomic_load(&side->replay->failed))
		return tg_error(&side->error, -ECANCELED, "the other side failed");
	if (tool_now_ns(CLOCK_MONOTONIC) >= side->replay->deadline_ns)
		return tg_error(&side->error, -ETIMEDOUT, "timed out");
	return 0;
}

static int wait_fd(struct side *side, int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int ret;

	do {
		ret = check_going(side);
		if (ret)
			return ret;
		ret = poll(&p, 1, POLL_MS);
		if (ret < 0 && errno != EINTR)
			return tg_error(&side->error, -errno, "poll: %s", strerror(errno));
	} while (ret <= 0);
	return 0;
}

/* Sleeps in slices that end early only to look whether it still makes sense. */
static int sleep_until(struct side *side, int64_t due_ns)
{
	int64_t now_ns = tool_now_ns(CLOCK_MONOTONIC);

	while (now_ns < due_ns) {
		int64_t slice_ns = now_ns + POLL_MS * 1000000LL;
		struct timespec until = tool_timespec(due_ns < slice_ns ? due_ns : slice_ns);
		int ret = check_going(side);

		if (ret)
			return ret;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		now_ns = tool_now_ns(CLOCK_MONOTONIC);
	}
	return 0;
}

/* ---- the connection ---- */

static int open_socket(struct side *side, int *ret_fd)
{
	int one = 1,
	    fd = socket(side->replay->ends.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return tg_error(&side->error, -errno, "socket: %s", strerror(errno));
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))) {
		int err = -errno;

		close(fd);
		return tg_error(&side->error, err, "setsockopt: %s", strerror(-err));
	}
	*ret_fd = fd;
	return 0;
}

static int listen_socket(struct side *side, int *ret_fd)
{
	const struct replay *r = side->replay;
	int fd, ret = open_socket(side, &fd);

	if (ret)
		return ret;
	if (bind(fd, (const struct sockaddr *)&r->ends.address, r->ends.address_len) || listen(fd, 1)) {
		ret = tg_error(&side->error, -errno, "cannot listen: %s", strerror(errno));
		close(fd);
		return ret;
	}
	*ret_fd = fd;
	return 0;
}

static int accept_peer(struct side *side, int listener, int *ret_fd)
{
	int one = 1, fd, ret;

	do {
		ret = wait_fd(side, listener, POLLIN);
		if (ret)
			return tg_error_prefix(&side->error, ret, "waiting for the connection");
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	} while (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED));
	if (fd < 0)
		return tg_error(&side->error, -errno, "accept: %s", strerror(errno));
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))) {
		ret = tg_error(&side->error, -errno, "setsockopt: %s", strerror(errno));
		close(fd);
		return ret;
	}
	*ret_fd = fd;
	return 0;
}

static int connect_peer(struct side *side, int *ret_fd)
{
	const struct replay *r = side->replay;
	socklen_t len = sizeof(int);
	int fd, err = 0, ret = open_socket(side, &fd);

	if (ret)
		return ret;
	if (connect(fd, (const struct sockaddr *)&r->ends.address, r->ends.address_len)) {
		err = errno;
		if (err == EINPROGRESS) {
			ret = wait_fd(side, fd, POLLOUT);
			if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len))
				err = errno;
		}
	}
	if (!ret && err)
		ret = tg_error(&side->error, -err, "%s", strerror(err));
	if (ret) {
		close(fd);
		return tg_error_prefix(&side->error, ret, "cannot connect");
	}
	*ret_fd = fd;
	return 0;
}

/* ---- messages ---- */

static int send_message(struct side *side, int fd, size_t index)
{
	struct message *m = &side->replay->messages[index];
	size_t done = 0;
	int ret;

	message_fill(side->buf, m->bytes, side->replay->seed, index);
	m->sent_ns = tool_now_ns(CLOCK_MONOTONIC);
	while (done < m->bytes) {
		ssize_t n = send(fd, side->buf + done, m->bytes - done, MSG_NOSIGNAL);

		if (n >= 0) {
			done += (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return tg_error(&side->error, -errno, "send: %s", strerror(errno));
		ret = wait_fd(side, fd, POLLOUT);
		if (ret)
			return ret;
	}
	return 0;
}

/* One read of at most `size` bytes. Returns their number, 0 at the end of the stream, or a negative errno. */
static ssize_t read_some(struct side *side, int fd, uint8_t *buf, size_t size)
{
	ssize_t n;
	int ret;

	do {
		ret = wait_fd(side, fd, POLLIN);
		if (ret)
			return ret;
		n = recv(fd, buf, size, 0);
	} while (n < 0 && (errno == EAGAIN || errno == EINTR));
	return n < 0 ? tg_error(&side->error, -errno, "recv: %s", strerror(errno)) : n;
}

static int receive_message(struct side *side, int fd, size_t index)
{
	struct message *m = &side->replay->messages[index];

	for (size_t done = 0; done < m->bytes;) {
		ssize_t n = read_some(side, fd, side->buf + done, m->bytes - done);

		if (n < 0)
			return (int)n;
		if (!n)
			return tg_error(&side->error, -ECONNRESET, "the connection ended early");
		done += (size_t)n;
	}
	m->received_ns = tool_now_ns(CLOCK_MONOTONIC);
	message_fill(side->expected, m->bytes, side->replay->seed, index);
	if (memcmp(side->buf, side->expected, m->bytes))
		return tg_error(&side->error, -EBADMSG, "wrong content");
	return 0;
}

/*
 * When a message is due whose think time counts from `from_ns`. With --tick a robot waits, as real ones do,
 * for the place of its control tick at which the trace has the message: whole ticks of its think time are
 * kept, and of the rest it takes what is left up to that place, however long the message before was on its
 * way. What it answers at once is no matter of the tick.
 */
static int64_t due_at(const struct replay *r, const struct message *m, int64_t from_ns, int64_t started_ns)
{
	int64_t tick_ns = (int64_t)(r->tick_us * 1000), place_ns, ahead_ns;

	if (!tick_ns || m->direction == TRACE_TO_ROBOT || m->think_ns < AT_ONCE_NS)
		return from_ns + m->think_ns;
	from_ns += m->think_ns / tick_ns * tick_ns;
	place_ns = started_ns + m->trace_ns % tick_ns;
	ahead_ns = (place_ns - from_ns) % tick_ns;
	return from_ns + (ahead_ns < 0 ? ahead_ns + tick_ns : ahead_ns);
}

/* Plays this side's part of one session on the connection `fd`, whose think times count from `from_ns`. */
static int play_messages(struct side *side, int fd, const struct session *s, int64_t from_ns)
{
	const struct replay *r = side->replay;
	int64_t started_ns = from_ns;
	int ret;

	for (size_t i = s->first; i < s->first + s->count; i++) {
		const struct message *m = &r->messages[i];

		if (m->direction == side->sends) {
			/* counted from when it was due, not from when it woke up, so that lateness does not
			 * add up */
			from_ns = due_at(r, m, from_ns, started_ns);
			ret = sleep_until(side, from_ns);
			if (!ret)
				ret = send_message(side, fd, i);
		} else {
			ret = receive_message(side, fd, i);
			from_ns = m->received_ns;
		}
		if (ret)
			return tg_error_prefix(
				&side->error, ret, "%s, message %zu (%s %s, %u bytes)", s->path, i - s->first,
				m->direction == side->sends ? "to" : "from",
				m->direction == TRACE_TO_ROBOT ? "robot" : "controller", m->bytes);
	}
	return 0;
}

/* Both ends close for writing and want to read exactly nothing more. */
static int finish_connection(struct side *side, int fd)
{
	ssize_t n;

	if (shutdown(fd, SHUT_WR))
		return tg_error(&side->error, -errno, "shutdown: %s", strerror(errno));
	n = read_some(side, fd, side->buf, 1);
	if (n < 0)
		return tg_error_prefix(&side->error, (int)n, "waiting for the end of the connection");
	return n ? tg_error(&side->error, -EBADMSG, "data after the last message") : 0;
}

static int play_session(struct side *side, int listener, struct session *s)
{
	int64_t from_ns = tool_now_ns(CLOCK_MONOTONIC);
	int fd = -1, ret;

	if (!side->listens) {
		s->started_ns = from_ns;
		s->started_real_us = tool_now_ns(CLOCK_REALTIME) / 1000;
		ret = connect_peer(side, &fd);
	} else {
		ret = accept_peer(side, listener, &fd);
		from_ns = tool_now_ns(CLOCK_MONOTONIC);
	}
	if (ret)
		return tg_error_prefix(&side->error, ret, "%s", s->path);
	ret = play_messages(side, fd, s, from_ns);
	if (!ret)
		ret = finish_connection(side, fd);
	close(fd);
	if (!side->listens)
		s->ended_ns = tool_now_ns(CLOCK_MONOTONIC);
	return ret;
}

/* ---- the two threads ---- */

static int wait_listening(struct side *side)
{
	struct timespec deadline = tool_timespec(side->replay->deadline_ns);

	while (sem_clockwait(&side->replay->listening, CLOCK_MONOTONIC, &deadline)) {
		if (errno != EINTR)
			return tg_error(&side->error, -errno, "waiting for the listener: %s",
					strerror(errno));
	}
	return check_going(side);
}

static int play_all(struct side *side, int listener)
{
	struct replay *r = side->replay;
	int ret;

	for (size_t i = 0; i < r->session_count; i++) {
		if (i && !side->listens) {
			ret = sleep_until(side,
					  tool_now_ns(CLOCK_MONOTONIC) + (int64_t)(r->gap_s * TOOL_NS_PER_S));
			if (ret)
				return ret;
		}
		ret = play_session(side, listener, &r->sessions[i]);
		if (ret)
			return ret;
	}
	return 0;
}

static int run_side(struct side *side)
{
	struct replay *r = side->replay;
	struct sched_param priority = { .sched_priority = 20 };
	int listener = -1, ret;

	ret = tool_enter_netns(side->listens ? r->ends.server_netns : r->ends.client_netns, &side->error);
	if (ret)
		return ret;
	/* default slack is 50 us: as long as a step of the grid error that is to be measured */
	prctl(PR_SET_TIMERSLACK, 1);
	side->rt = r->want_rt && !pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
	if (side->listens) {
		ret = listen_socket(side, &listener);
		if (!ret)
			sem_post(&r->listening);
	} else {
		ret = wait_listening(side);
	}
	if (!ret)
		ret = play_all(side, listener);
	if (listener >= 0)
		close(listener);
	return ret;
}

static void *side_main(void *arg)
{
	struct side *side = arg;

	side->ret = run_side(side);
	if (side->ret) {
		atomic_store(&side->replay->failed, true);
		sem_post(&side->replay->listening);
	}
	return NULL;
}

static int alloc_buffers(struct side *side, size_t size, struct tg_error *e)
{
	side->buf = malloc(size);
	side->expected = malloc(size);
	return side->buf && side->expected ? 0 : tg_error(e, -ENOMEM, "out of memory");
}

/* Returns the first failure of either side; its own reason goes before "the other side failed". */
static int run_both(struct replay *r, struct side side[static 2], struct tg_error *e)
{
	pthread_t thread[2];
	int started = 0, err = 0;

	for (; started < 2 && !err; started++) {
		err = -pthread_create(&thread[started], NULL, side_main, &side[started]);
		if (err)
			break;
	}
	if (err) {
		tg_error(e, err, "cannot start a thread: %s", strerror(-err));
		atomic_store(&r->failed, true);
	}
	for (int i = 0; i < started; i++)
		pthread_join(thread[i], NULL);
	for (int pass = 0; pass < 2 && !err; pass++) {
		for (int i = 0; i < 2 && !err; i++) {
			if (side[i].ret && (pass || side[i].ret != -ECANCELED))
				err = tg_error(e, side[i].ret, "%s side: %s",
					       side[i].sends == TRACE_TO_ROBOT ? "controller" : "robot",
					       side[i].error.message);
		}
	}
	return err;
}

/* ---- loading ---- */

static int add_session(struct replay *r, const char *path, const struct trace *trace, int64_t start_us,
		       struct tg_error *e)
{
	struct session *s = &r->sessions[r->session_count];
	struct message *messages;
	int64_t previous_us = start_us;

	if (!trace->count)
		return tg_error(e, -EINVAL, "%s: no message to send", path);
	messages = reallocarray(r->messages, r->message_count + trace->count, sizeof(*messages));
	if (!messages)
		return tg_error(e, -ENOMEM, "out of memory");
	r->messages = messages;
	*s = (struct session){ .path = path, .first = r->message_count, .count = trace->count };
	for (size_t i = 0; i < trace->count; i++) {
		const struct trace_row *row = &trace->rows[i];

		r->messages[r->message_count++] = (struct message){
			.session = (uint32_t)r->session_count,
			.direction = row->direction,
			.bytes = row->payload_bytes,
			.think_ns = (row->time_us - previous_us) * 1000,
			.trace_ns = (row->time_us - start_us) * 1000,
		};
		previous_us = row->time_us;
	}
	s->trace_ns = (previous_us - start_us) * 1000;
	r->session_count++;
	return 0;
}

static int load_session(struct replay *r, const char *path, struct tg_error *e)
{
	struct trace trace = { 0 };
	int ret = trace_load(&trace, path, e);

	if (!ret) {
		int64_t start_us = trace.count ? trace.rows[0].time_us : 0;

		trace_keep_messages(&trace, r->max_s > 0 ? start_us + (int64_t)(r->max_s * 1e6) : 0);
		ret = add_session(r, path, &trace, start_us, e);
	}
	trace_free(&trace);
	return ret;
}

static int load_all(struct replay *r, char **paths, size_t count, struct tg_error *e)
{
	double total_s = 0;

	r->sessions = calloc(count, sizeof(*r->sessions));
	if (!r->sessions)
		return tg_error(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		int ret = load_session(r, paths[i], e);

		if (ret)
			return ret;
		total_s += (double)r->sessions[i].trace_ns / TOOL_NS_PER_S + r->gap_s;
	}
	if (r->timeout_s <= 0)
		r->timeout_s = 2 * total_s + 30;
	return 0;
}

/* ---- results ---- */

static json_t *milliseconds(const int64_t *sorted_ns, size_t count, double percent)
{
	return count ? json_real((double)quantile(sorted_ns, count, percent) / 1e6) : json_null();
}

static json_t *delay_object(const struct replay *r, int direction)
{
	int64_t *delays = calloc(r->message_count + 1, sizeof(*delays));
	size_t count = 0;
	json_t *o;

	if (!delays)
		return NULL;
	for (size_t i = 0; i < r->message_count; i++) {
		const struct message *m = &r->messages[i];

		if (m->received_ns && (!direction || m->direction == direction))
			delays[count++] = m->received_ns - m->sent_ns;
	}
	quantile_sort(delays, count);
	o = json_pack("{s:I, s:o, s:o, s:o, s:o}", "messages", (json_int_t)count, "p50",
		      milliseconds(delays, count, 50), "p90", milliseconds(delays, count, 90), "p99",
		      milliseconds(delays, count, 99), "max", milliseconds(delays, count, 100));
	free(delays);
	return o;
}

static json_t *session_object(const struct replay *r, const struct session *s)
{
	json_int_t bytes = 0, messages = 0;

	for (size_t i = s->first; i < s->first + s->count; i++) {
		if (!r->messages[i].received_ns)
			continue;
		messages++;
		bytes += r->messages[i].bytes;
	}
	return json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:b}", "trace", s->path, "messages", messages,
			 "bytes", bytes, "start_us", (json_int_t)s->started_real_us, "duration_s",
			 (double)(s->ended_ns - s->started_ns) / TOOL_NS_PER_S, "trace_s",
			 (double)s->trace_ns / TOOL_NS_PER_S, "ok",
			 messages == (json_int_t)s->count && s->ended_ns > 0);
}

static json_t *result_object(const struct replay *r, bool ok, bool rt)
{
	json_t *sessions = json_array(), *delay = delay_object(r, 0);
	json_int_t bytes = 0, messages = 0;
	double duration_s = 0;

	for (size_t i = 0; i < r->session_count; i++) {
		json_t *s = session_object(r, &r->sessions[i]);

		bytes += json_integer_value(json_object_get(s, "bytes"));
		messages += json_integer_value(json_object_get(s, "messages"));
		duration_s += json_real_value(json_object_get(s, "duration_s"));
		json_array_append_new(sessions, s);
	}
	json_object_set_new(delay, "to_robot", delay_object(r, TRACE_TO_ROBOT));
	json_object_set_new(delay, "to_controller", delay_object(r, TRACE_TO_CONTROLLER));
	return json_pack("{s:b, s:I, s:I, s:f, s:b, s:o, s:o}", "ok", ok, "messages", messages, "bytes",
			 bytes, "duration_s", duration_s, "rt", rt, "delay_ms", delay, "sessions", sessions);
}

static int write_delays(const struct replay *r, struct tg_error *e)
{
	FILE *f = fopen(r->delays_path, "we");
	int ret = 0;

	if (!f)
		return tg_error(e, -errno, "cannot create %s: %s", r->delays_path, strerror(errno));
	fputs("index,direction,bytes,sent_us,delay_us\n", f);
	for (size_t i = 0; i < r->message_count; i++) {
		const struct message *m = &r->messages[i];

		if (m->received_ns)
			fprintf(f, "%zu,%d,%u,%lld,%lld\n", i, m->direction, m->bytes,
				(long long)m->sent_ns / 1000,
				(long long)(m->received_ns - m->sent_ns) / 1000);
	}
	if (fflush(f) || ferror(f))
		ret = tg_error(e, -EIO, "cannot write %s", r->delays_path);
	fclose(f);
	return ret;
}

static int replay_run(struct replay *r, struct tg_error *e)
{
	struct side side[2] = {
		{ .replay = r,
		  .listens = true,
		  .sends = r->robot_listens ? TRACE_TO_CONTROLLER : TRACE_TO_ROBOT },
		{ .replay = r,
		  .listens = false,
		  .sends = r->robot_listens ? TRACE_TO_ROBOT : TRACE_TO_CONTROLLER },
	};
	struct tg_error late = { "" };
	int ret = 0, err;

	for (int i = 0; i < 2 && !ret; i++)
		ret = alloc_buffers(&side[i], TRACE_MAX_BYTES, e);
	if (!ret) {
		r->deadline_ns = tool_now_ns(CLOCK_MONOTONIC) + (int64_t)(r->timeout_s * TOOL_NS_PER_S);
		ret = run_both(r, side, e);
		err = tool_print_json(result_object(r, !ret, side[0].rt && side[1].rt), &late);
		if (!err && r->delays_path)
			err = write_delays(r, &late);
		if (err && !ret) {
			ret = err;
			*e = late;
		}
	}
	for (int i = 0; i < 2; i++) {
		free(side[i].buf);
		free(side[i].expected);
	}
	return ret;
}

/* ---- the command line ---- */

static void usage(FILE *f)
{
	fputs("Usage: " PROGRAM " --address A --port P [OPTIONS] TRACE.csv...\n"
	      "Plays traces (" TRACE_HEADER ";\n"
	      "direction 1 = controller to robot) as TCP connections, both ends, and prints what happened as "
	      "JSON.\n\n"
	      "  --address A          IPv4 or IPv6 address of the listening side\n"
	      "  --port P             its TCP port\n"
	      "  --listen SIDE        robot (default) or controller: which side listens; the other connects\n"
	      "  --client-netns PATH  network namespace of the connecting side (default: where it was "
	      "started)\n"
	      "  --server-netns PATH  network namespace of the listening side\n"
	      "  --tick US            the robot answers on its control tick of so many microseconds, at the "
	      "place of it\n"
	      "                       where the trace has the answer (default: after the trace's think "
	      "time)\n"
	      "  --gap S              seconds between sessions (default 1)\n"
	      "  --seconds S          play only what the trace sends in its first S seconds\n"
	      "  --timeout S          give up after S seconds (default: twice the traces' length and 30 s)\n"
	      "  --seed N             decides the content of the messages (default 1)\n"
	      "  --rt                 real-time priority, if permitted\n"
	      "  --delays FILE        write index,direction,bytes,sent_us,delay_us of each message\n"
	      "  --help\n\n"
	      "Exit status: 0 every message arrived unchanged, 1 not so, 2 the call was wrong.\n",
	      f);
}

static int parse_listen(struct replay *r, const char *text, struct tg_error *e)
{
	if (strcmp(text, "robot") && strcmp(text, "controller"))
		return tg_error(e, -EINVAL, "--listen: '%.20s', expected robot or controller", text);
	r->robot_listens = !strcmp(text, "robot");
	return 0;
}

/* Returns 0, 1 for --help, or -EINVAL. */
static int parse_options(struct replay *r, int argc, char **argv, struct tg_error *e)
{
	static const struct option options[] = {
		TOOL_ENDS_OPTIONS,
		{ "listen", required_argument, NULL, 'l' },
		{ "tick", required_argument, NULL, 'T' },
		{ "gap", required_argument, NULL, 'g' },
		{ "seconds", required_argument, NULL, 'n' },
		{ "timeout", required_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 'S' },
		{ "rt", no_argument, NULL, 'r' },
		{ "delays", required_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c, ret = 0;

	opterr = 0;
	while (!ret && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'l':
			ret = parse_listen(r, optarg, e);
			break;
		case 'T':
			ret = tool_parse_real(optarg, "--tick", 1000, 1e6, &r->tick_us, e);
			break;
		case 'g':
			ret = tool_parse_real(optarg, "--gap", 0, 3600, &r->gap_s, e);
			break;
		case 'n':
			ret = tool_parse_real(optarg, "--seconds", 0.1, 86400, &r->max_s, e);
			break;
		case 't':
			ret = tool_parse_real(optarg, "--timeout", 0.1, 86400, &r->timeout_s, e);
			break;
		case 'S':
			ret = tool_parse_whole(optarg, "--seed", 0, UINT64_MAX, &r->seed, e);
			break;
		case 'r':
			r->want_rt = true;
			break;
		case 'd':
			r->delays_path = optarg;
			break;
		case 'h':
			return 1;
		case '?':
			return tg_error(e, -EINVAL, "bad option '%s'; see --help", argv[optind - 1]);
		default:
			ret = tool_ends_option(&r->ends, c, optarg, e);
		}
	}
	if (!ret && (!tool_ends_complete(&r->ends) || optind == argc))
		ret = tg_error(e, -EINVAL, "--address, --port and a trace are needed; see --help");
	return ret;
}

int main(int argc, char **argv)
{
	struct replay r = { .robot_listens = true, .gap_s = 1, .seed = 1 };
	struct tg_error e = { "" };
	int ret = tool_begin(PROGRAM, parse_options(&r, argc, argv, &e), usage, &e);

	if (ret >= 0)
		return ret;
	ret = load_all(&r, argv + optind, (size_t)(argc - optind), &e);
	if (ret) {
		free(r.messages);
		free(r.sessions);
		return tool_fail(PROGRAM, TOOL_USAGE, &e);
	}
	sem_init(&r.listening, 0, 0);
	ret = replay_run(&r, &e);
	sem_destroy(&r.listening);
	free(r.messages);
	free(r.sessions);
	return ret ? tool_fail(PROGRAM, TOOL_FAILED, &e) : EXIT_SUCCESS;
}
