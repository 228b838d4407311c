/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/netfilter.h>
#include <net/ethernet.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "guard/files.h"
#include "pace/pace.h"
#include "pace/plan.h"
#include "shared/mark.h"

enum {
	PRIORITY = 40,		/* of the thread, SCHED_FIFO: below the kernel's own interrupt threads (50) */
	STACK_SIZE = 256 << 10, /* locked into memory, like all else */
	QUEUE_SPARE = 1024,	/* packets that the kernel may have for us before we have looked at them */
	CHECK_US = 250000,
};

struct counters {
	atomic_uint_fast64_t packets, passed, refused, dropped, real, dummies, send_errors;
};

struct pace {
	struct guard_conf conf;
	struct event_base *base;
	struct event *on_check, *on_end;
	struct stat files[2];	/* policy and site, as loaded last */
	bool retry;		/* files and maps did not make a plan */

	int packets;		/* packet socket for the dummies */
	int timer, news, ended;	/* descriptors: the next slot; a new plan or the end; the thread has ended */
	pthread_t thread;
	bool started;
	atomic_bool stop;
	atomic_int failure;
	atomic_bool first_in, locked; /* the thread has its priority, the process its memory */
	int (*drop_rights)(struct tg_error *e);
	struct counters counters;

	/* the thread's own */
	struct plan *plan;
	struct queue *queue;
	uint16_t queue_number;

	/* a plan on its way to the thread */
	pthread_mutex_t lock;
	struct plan *next;
	/* the newest, for plan_is_current() alone: the thread never frees it before it has a newer one */
	struct plan *known;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

__attribute__((format(printf, 2, 3))) static void say(const struct pace *p, const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	p->conf.ops.log(p->conf.ops.ctx, line);
}

/* ---- in the thread: packets ---- */

static void refuse(struct pace *p, const struct queue_packet *packet)
{
	bool open = p->plan->policy->fail == TG_FAIL_OPEN;

	/* without our mark the programs drop it, and count why; an open policy's let it pass unpaced */
	queue_verdict(p->queue, packet->id, open ? NF_DROP : NF_ACCEPT, NULL);
	p->counters.refused++;
}

static void take_packet(void *ctx, const struct queue_packet *packet)
{
	struct pace *p = ctx;
	struct pacer_packet held = { .id = packet->id,
				     .size = (uint32_t)packet->total,
				     .mark = packet->mark | TG_MARK_PACED };
	size_t tunnel, class;

	p->counters.packets++;
	switch (plan_classify(p->plan, packet, &tunnel, &class)) {
	case PLAN_PACE:
		held.arrived_ns = now_ns();
		if (pacer_admit(&p->plan->tunnels[tunnel].classes[class].pacer, &held))
			return;
		queue_verdict(p->queue, packet->id, NF_DROP, NULL);
		p->counters.dropped++;
		return;
	case PLAN_PASS:
		queue_verdict(p->queue, packet->id, NF_ACCEPT, NULL);
		p->counters.passed++;
		return;
	case PLAN_REFUSE:
		refuse(p, packet);
		return;
	}
}

/* Into the tunnel, past the netfilter queue: a packet socket's packets meet no rules of iptables. */
static void send_dummy(struct pace *p, const struct plan_tunnel *t, const struct plan_class *class)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETHERTYPE_IPV6),
				  .sll_ifindex = (int)t->ifindex };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(class->mark))] = { 0 };
	struct iovec data = { class->dummy, class->schedule.cell };
	struct msghdr message = { .msg_name = &to,
				  .msg_namelen = sizeof(to),
				  .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *mark = CMSG_FIRSTHDR(&message);

	mark->cmsg_level = SOL_SOCKET;
	mark->cmsg_type = SO_MARK;
	mark->cmsg_len = CMSG_LEN(sizeof(class->mark));
	memcpy(CMSG_DATA(mark), &class->mark, sizeof(class->mark));
	if (sendmsg(p->packets, &message, MSG_DONTWAIT) < 0)
		p->counters.send_errors++;
	else
		p->counters.dummies++;
}

static void serve_class(struct pace *p, const struct plan_tunnel *t, struct plan_class *class)
{
	struct pacer_packet packet;

	for (;;) {
		switch (pacer_step(&class->pacer, now_ns(), &packet)) {
		case PACER_REAL:
			queue_verdict(p->queue, packet.id, NF_ACCEPT, &packet.mark);
			queue_flush(p->queue);
			p->counters.real++;
			break;
		case PACER_DUMMY:
			send_dummy(p, t, class);
			break;
		case PACER_NOTHING:
			return;
		}
	}
}

/* Calls `each` for the paced classes of a plan. */
static void for_classes(struct pace *p, struct plan *plan,
			void (*each)(struct pace *p, const struct plan_tunnel *t, struct plan_class *class))
{
	for (size_t i = 0; i < plan->policy->tunnel_count; i++) {
		struct plan_tunnel *t = &plan->tunnels[i];

		for (size_t k = 0; t->paced && k < plan->policy->tunnels[i].class_count; k++)
			if (t->classes[k].paced)
				each(p, t, &t->classes[k]);
	}
}

/* ---- in the thread: plans ---- */

static void start_class(struct pace *p, const struct plan_tunnel *t, struct plan_class *class)
{
	struct tg_paced *shared = &t->shared[class->schedule.class];

	pacer_start(&class->pacer, shared, now_ns());
	shared->flags = p->first_in && p->locked ? TG_PACED_REALTIME : 0;
	shared->generation = t->generation;
}

static void end_class(struct pace *p, const struct plan_tunnel *t, struct plan_class *class)
{
	(void)p;
	t->shared[class->schedule.class].generation = 0;
}

static void drop_held(void *ctx, const struct pacer_packet *packet)
{
	struct pace *p = ctx;

	queue_verdict(p->queue, packet->id, NF_DROP, NULL);
	p->counters.dropped++;
}

/* The class of the same names in the plan in force. */
static struct plan_class *find_old(struct plan *old, const struct plan *next, size_t tunnel, size_t class)
{
	const struct tg_tunnel *wanted = &next->policy->tunnels[tunnel];

	for (size_t i = 0; old && i < old->policy->tunnel_count; i++) {
		const struct tg_tunnel *t = &old->policy->tunnels[i];

		if (strcmp(t->name, wanted->name))
			continue;
		for (size_t k = 0; k < t->class_count; k++)
			if (old->tunnels[i].classes[k].paced &&
			    !strcmp(t->classes[k].name, wanted->classes[class].name))
				return &old->tunnels[i].classes[k];
	}
	return NULL;
}

static void carry_over(struct pace *p, struct plan *next)
{
	for (size_t i = 0; i < next->policy->tunnel_count; i++) {
		for (size_t k = 0; k < next->policy->tunnels[i].class_count; k++) {
			struct plan_class *class = &next->tunnels[i].classes[k];
			struct plan_class *old = class->paced ? find_old(p->plan, next, i, k) : NULL;

			if (old)
				pacer_take_over(&class->pacer, &old->pacer, drop_held, p);
		}
	}
}

static void drop_rest(struct pace *p, const struct plan_tunnel *t, struct plan_class *class)
{
	(void)t;
	pacer_clear(&class->pacer, drop_held, p);
}

/* The queue of the plan: opened, kept or closed. What another number held is lost with it. */
static int set_queue(struct pace *p, const struct plan *next, struct tg_error *e)
{
	struct queue_conf conf = { .number = next->policy->engine_queue,
				   .length = next->limit + QUEUE_SPARE,
				   .headers_only = true };
	int ret = 0;

	if (p->queue && next->paced && p->queue_number == conf.number) {
		queue_change(p->queue, &conf);
		return 0;
	}
	if (p->queue && p->plan) {
		for_classes(p, p->plan, drop_rest);
		queue_flush(p->queue);
	}
	queue_close(p->queue);
	p->queue = NULL;
	if (next->paced)
		ret = queue_open(&conf, &p->queue, e);
	p->queue_number = conf.number;
	return ret;
}

static int adopt(struct pace *p, struct plan *next, struct tg_error *e)
{
	int ret = set_queue(p, next, e);

	if (ret) {
		plan_free(next);
		return ret;
	}
	if (next->paced && !p->locked)
		p->locked = !mlockall(MCL_CURRENT | MCL_FUTURE);
	for_classes(p, next, start_class);
	if (p->plan) {
		carry_over(p, next);
		for_classes(p, p->plan, drop_rest);
	}
	if (p->queue)
		queue_flush(p->queue);
	plan_free(p->plan);
	p->plan = next;
	return 0;
}

static int take_news(struct pace *p)
{
	struct tg_error e = { "" };
	struct plan *next;
	eventfd_t count;
	int ret = 0;

	if (eventfd_read(p->news, &count))
		return 0;
	pthread_mutex_lock(&p->lock);
	next = p->next;
	p->next = NULL;
	pthread_mutex_unlock(&p->lock);
	if (next)
		ret = adopt(p, next, &e);
	if (ret)
		say(p, "cannot pace: %s", e.message);
	return ret;
}

/* ---- in the thread: time ---- */

/* The earliest slot of all classes; 0 = none. */
static uint64_t next_slot(const struct plan *plan)
{
	uint64_t next = 0;

	for (size_t i = 0; plan && i < plan->policy->tunnel_count; i++) {
		const struct plan_tunnel *t = &plan->tunnels[i];

		for (size_t k = 0; t->paced && k < plan->policy->tunnels[i].class_count; k++) {
			uint64_t slot = t->classes[k].paced ? t->classes[k].pacer.next_ns : 0;

			if (slot && (!next || slot < next))
				next = slot;
		}
	}
	return next;
}

/* An absolute time: what is late once is not late from then on. */
static void set_timer(struct pace *p)
{
	uint64_t slot = next_slot(p->plan);
	struct itimerspec when = { .it_value = { .tv_sec = (time_t)(slot / 1000000000u),
						 .tv_nsec = (long)(slot % 1000000000u) } };

	timerfd_settime(p->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

/* One round: what is due, then what has come. */
static int run_round(struct pace *p)
{
	struct pollfd wait[] = { { .fd = p->news, .events = POLLIN },
				 { .fd = p->timer, .events = POLLIN },
				 { .fd = p->queue ? queue_fd(p->queue) : -1, .events = POLLIN } };
	int ret = 0;

	if (p->plan && p->queue)
		for_classes(p, p->plan, serve_class);
	set_timer(p);
	if (poll(wait, sizeof(wait) / sizeof(wait[0]), -1) < 0)
		return errno == EINTR ? 0 : -errno;
	if (p->plan && p->queue)
		for_classes(p, p->plan, serve_class);
	if (wait[2].revents)
		ret = queue_receive(p->queue, take_packet, p);
	if (ret < 0)
		say(p, "the pacing queue failed: %s", strerror(-ret));
	return ret < 0 ? ret : take_news(p);
}

/* While the rights are there. Without them it paces at the ordinary priority, and status says so. */
static int prepare_thread(struct pace *p)
{
	const struct sched_param param = { .sched_priority = PRIORITY };
	struct tg_error e = { "" };
	int ret;

	p->first_in = !pthread_setschedparam(pthread_self(), SCHED_FIFO, &param);
	ret = p->drop_rights(&e);
	if (ret)
		say(p, "%s", e.message);
	return ret;
}

static void *run_thread(void *ctx)
{
	struct pace *p = ctx;
	int ret = prepare_thread(p);

	while (!ret && !p->stop)
		ret = run_round(p);
	p->failure = ret;
	if (ret)
		eventfd_write(p->ended, 1);
	return NULL;
}

/* ---- in the event loop ---- */

/* Signals are the event loop's. */
static int start_thread(struct pace *p, struct tg_error *e)
{
	pthread_attr_t attr;
	sigset_t all, before;
	int ret = pthread_attr_init(&attr);

	if (ret)
		return tg_error(e, -ret, "cannot make a thread: %s", strerror(ret));
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_attr_setstacksize(&attr, STACK_SIZE);
	if (!ret)
		ret = pthread_create(&p->thread, &attr, run_thread, p);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	p->started = !ret;
	return ret ? tg_error(e, -ret, "cannot make a thread: %s", strerror(ret)) : 0;
}

static int load_plan(struct pace *p, struct plan **ret_plan, struct tg_error *e)
{
	char policy_file[PATH_MAX], site_file[PATH_MAX];
	struct tg_policy *policy;
	int ret;

	files_stat(&p->conf, p->files);
	ret = tg_policy_load(files_policy(&p->conf, policy_file), files_site(&p->conf, site_file), &policy,
			     e);
	return ret ? ret : plan_new(p->conf.pin_dir, policy, ret_plan, e);
}

static void hand_over(struct pace *p, struct plan *plan)
{
	struct plan *unused;

	pthread_mutex_lock(&p->lock);
	unused = p->next;
	p->next = plan;
	pthread_mutex_unlock(&p->lock);
	p->known = plan;
	plan_free(unused);
	eventfd_write(p->news, 1);
}

/* A plan that cannot be made is tried again: maps and files change one after the other. */
static void check(evutil_socket_t fd, short what, void *ctx)
{
	struct pace *p = ctx;
	struct tg_error e = { "" };
	struct plan *plan;
	int ret;

	(void)fd;
	(void)what;
	if (p->known && !p->retry && !files_changed(&p->conf, p->files) &&
	    plan_is_current(p->known, p->conf.pin_dir))
		return;
	ret = load_plan(p, &plan, &e);
	p->retry = ret != 0;
	if (!ret)
		hand_over(p, plan);
}

static void thread_ended(evutil_socket_t fd, short what, void *ctx)
{
	struct pace *p = ctx;

	(void)fd;
	(void)what;
	event_base_loopbreak(p->base);
}

static int open_descriptors(struct pace *p, struct tg_error *e)
{
	p->packets = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (p->packets < 0)
		return tg_error(e, -errno, "cannot open a packet socket: %s", strerror(errno));
	p->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	p->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->timer < 0 || p->news < 0 || p->ended < 0)
		return tg_error(e, -errno, "out of descriptors: %s", strerror(errno));
	return 0;
}

static int start_events(struct pace *p, struct tg_error *e)
{
	const struct timeval pause = { .tv_usec = CHECK_US };

	p->on_check = event_new(p->base, -1, EV_PERSIST, check, p);
	p->on_end = event_new(p->base, p->ended, EV_READ, thread_ended, p);
	if (!p->on_check || !p->on_end || event_add(p->on_check, &pause) || event_add(p->on_end, NULL))
		return tg_error(e, -ENOMEM, "out of memory");
	/* and at once, when the loop begins */
	event_active(p->on_check, EV_TIMEOUT, 0);
	return 0;
}

int pace_new(const struct guard_conf *conf, int (*drop_rights)(struct tg_error *e), struct event_base *base,
	     struct pace **ret_pace, struct tg_error *e)
{
	struct pace *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return tg_error(e, -ENOMEM, "out of memory");
	p->conf = *conf;
	p->base = base;
	p->packets = p->timer = p->news = p->ended = -1;
	pthread_mutex_init(&p->lock, NULL);
	p->drop_rights = drop_rights;
	ret = open_descriptors(p, e);
	if (!ret)
		ret = start_events(p, e);
	if (!ret)
		ret = start_thread(p, e);
	if (ret) {
		pace_free(p);
		return ret;
	}
	*ret_pace = p;
	return 0;
}

static void close_if_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

void pace_free(struct pace *p)
{
	if (!p)
		return;
	if (p->started) {
		p->stop = true;
		eventfd_write(p->news, 1);
		pthread_join(p->thread, NULL);
	}
	if (p->on_check)
		event_free(p->on_check);
	if (p->on_end)
		event_free(p->on_end);
	if (p->plan)
		for_classes(p, p->plan, end_class);
	/* the kernel drops what it holds for us */
	queue_close(p->queue);
	plan_free(p->next);
	plan_free(p->plan);
	close_if_open(p->packets);
	close_if_open(p->timer);
	close_if_open(p->news);
	close_if_open(p->ended);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

int pace_failure(const struct pace *p)
{
	return p->failure;
}

json_t *pace_stats(const struct pace *p)
{
	const struct counters *c = &p->counters;

	return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "realtime", p->first_in && p->locked,
			 "packets", (json_int_t)c->packets, "passed", (json_int_t)c->passed, "refused",
			 (json_int_t)c->refused, "dropped", (json_int_t)c->dropped, "real",
			 (json_int_t)c->real, "dummies", (json_int_t)c->dummies, "send_errors",
			 (json_int_t)c->send_errors);
}
