/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <bpf/libbpf.h>
#include <event2/event.h>

#include "control.h"
#include "guard/medical.h"
#include "guard/watch.h"
#include "heal/heal.h"
#include "instance/instance.h"
#include "pace/pace.h"
#include "report.h"
#include "roles.h"
#include "tensorguard/audit.h"

enum { QUEUE_TRIES = 20, QUEUE_PAUSE_NS = 50000000, LOOK_S = 2 };

struct agent {
	struct event_base *base; /* of `child` */
	struct child *child;
	struct guard *guard;
	struct pace *pace;
	struct heal *heal;
	struct control *control;
	struct watch *watch;
	struct medical *medical;
	struct event *on_look;
	struct report_timer *report;
};

static void log_line(void *ctx, const char *line)
{
	(void)ctx;
	agent_log(line);
}

/* For the audit trail: what is in force, or that it was not taken. */
static void on_loaded(void *ctx, int result, const struct tg_policy *in_force)
{
	const struct agent *a = ctx;
	const char *name = in_force ? in_force->name : "";

	if (result)
		child_report(a->child, TG_AUDIT_POLICY_REFUSED, 1, name, (uint64_t)-result, 0);
	else
		child_report(a->child, TG_AUDIT_POLICY_LOADED, 1, name, in_force->version, 0);
}

static int reload(void *ctx)
{
	struct agent *a = ctx;
	struct tg_error e = { "" };
	char line[sizeof(e.message) + 64];
	int ret = guard_reload(a->guard, &e);

	if (ret) {
		snprintf(line, sizeof(line), "the old policy stays in force: %s", e.message);
		agent_log(line);
	}
	return ret;
}

static bool told(void *ctx, unsigned code, const char *tunnel, int class, uint64_t count)
{
	const struct agent *a = ctx;
	uint32_t part = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;

	return !child_report(a->child, code, part, tunnel, class < 0 ? 0 : (uint64_t) class, 0);
}

static const struct tg_policy *policy_in_force(void *ctx)
{
	const struct agent *a = ctx;

	return guard_policy(a->guard);
}

static int start_watch(struct agent *a, const struct guard_conf *conf, struct tg_error *e)
{
	const struct watch_ops ops = { told, policy_in_force, a };

	return watch_new(a->base, conf->pin_dir, &ops, &a->watch) ? tg_error(e, -ENOMEM, "out of memory") : 0;
}

/* What repairs left behind, whoever had them run. */
static bool told_repair(void *ctx, unsigned code, const char *tunnel, uint64_t first, uint64_t second)
{
	const struct agent *a = ctx;

	return !child_report(a->child, code, 1, tunnel, first, second);
}

static void on_look(evutil_socket_t fd, short what, void *ctx)
{
	struct agent *a = ctx;

	(void)fd;
	(void)what;
	medical_look(a->medical);
	if (a->report)
		report_look(a->report);
}

static int start_medical(struct agent *a, const struct guard_conf *conf, struct tg_error *e)
{
	const struct medical_ops ops = { told_repair, a };
	const struct timeval every = { .tv_sec = LOOK_S };
	int ret = medical_new(conf->run_dir, &ops, &a->medical);

	if (!ret)
		a->on_look = event_new(a->base, -1, EV_PERSIST, on_look, a);
	if (ret || !a->on_look || event_add(a->on_look, &every))
		return tg_error(e, -ENOMEM, "out of memory");
	return 0;
}

static int ask_repair(void *ctx)
{
	struct agent *a = ctx;

	return child_ask(a->child, MESSAGE_REPAIR);
}

static void repaired(void *ctx, const struct message_done *done)
{
	struct agent *a = ctx;

	heal_done(a->heal, done->result);
	medical_repaired(a->medical, done->result);
}

static int start_loop(struct agent *a, struct tg_error *e)
{
	const struct child_ops ops = { .reload = reload, .done = repaired, .ctx = a };
	int ret = child_join(&ops, &a->child, e);

	a->base = ret ? NULL : child_base(a->child);
	return ret;
}

/* Rights are a thread's: each calls it for itself. */
static int settle(struct tg_error *e)
{
	return sandbox_settle(&sandbox_guard, e);
}

/* A guard that died a moment ago may still have the queue: the kernel closes one descriptor after the other.
 */
static int open_guard(struct agent *a, const struct guard_conf *conf, struct tg_error *e)
{
	const struct timespec pause = { .tv_nsec = QUEUE_PAUSE_NS };
	int ret = guard_new(conf, a->base, &a->guard, e);

	for (int i = 0; i < QUEUE_TRIES && (ret == -EBUSY || ret == -EPERM); i++) {
		nanosleep(&pause, NULL);
		ret = guard_new(conf, a->base, &a->guard, e);
	}
	return ret;
}

static int start(struct agent *a, const struct guard_conf *conf, struct tg_error *e)
{
	const struct heal_conf heal = { .pin_dir = conf->pin_dir,
					.run_dir = conf->run_dir,
					.settle = settle,
					.ask = ask_repair,
					.log = log_line,
					.ctx = a };
	int ret = start_loop(a, e);

	/* says how to start one, where the missing file would only be named */
	if (!ret && !conf->policy)
		ret = state_check_up(conf->run_dir, e);
	if (!ret)
		ret = open_guard(a, conf, e);
	if (!ret)
		ret = pace_new(conf, settle, a->base, &a->pace, e);
	if (!ret)
		ret = heal_new(&heal, a->base, &a->heal, e);
	if (!ret)
		ret = control_new(CHILD_SOCKET_FD,
				  &(struct control_parts){ a->guard, a->pace, a->heal, a->child }, a->base,
				  &a->control, e);
	if (!ret)
		ret = start_watch(a, conf, e);
	if (!ret)
		ret = start_medical(a, conf, e);
	return ret ? ret : settle(e);
}

static void stop(struct agent *a)
{
	report_end(a->report);
	watch_free(a->watch);
	if (a->on_look)
		event_free(a->on_look);
	control_free(a->control);
	heal_free(a->heal);
	pace_free(a->pace);
	guard_free(a->guard);
	medical_free(a->medical);
	child_leave(a->child);
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

static int serve(struct agent *a, const struct guard_conf *conf, struct tg_error *e)
{
	int ret;

	child_ready(a->child);
	ret = report_new(a->base, &(struct report_parts){ conf, a->guard, a->heal, a->medical, a->child },
			 &a->report);
	if (ret)
		return tg_error(e, ret, "out of memory");
	ret = event_base_dispatch(a->base) < 0 ? -EIO : guard_failure(a->guard);
	if (!ret)
		ret = pace_failure(a->pace);
	if (!ret && child_failure(a->child))
		return tg_error(e, child_failure(a->child),
				"stopped: the supervisor is gone or says nonsense");
	return ret ? tg_error(e, ret, "stopped: %s", strerror(-ret)) : 0;
}

int guard_run(const struct agent_conf *options, struct tg_error *e)
{
	struct guard_conf conf = options->guard;
	struct agent agent = { .base = NULL };
	int ret;

	conf.ops.log = log_line;
	conf.ops.loaded = on_loaded;
	conf.ops.ctx = &agent;
	libbpf_set_print(quiet);
	ret = start(&agent, &conf, e);
	if (!ret)
		ret = serve(&agent, &conf, e);
	stop(&agent);
	return ret;
}
