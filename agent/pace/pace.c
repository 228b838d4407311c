/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/netfilter.h>
#include <net/ethernet.h>
#include <netinet/ip6.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/clock.h"
#include "guard/files.h"
#include "pace/pace.h"
#include "pace/plan.h"
#include "pace/share.h"
#include "shared/mark.h"

enum {
	PRIORITY = 40,		/* of the thread, SCHED_FIFO: below the kernel's own interrupt threads (50) */
	STACK_SIZE = 256 << 10, /* locked into memory, like all else */
	QUEUE_SPARE = 1024,	/* packets that the kernel may have for us before we have looked at them */
	CHECK_US = 250000,
	PACING_CHECK_US = 25000, /* while packets are held by a policy that may not be in force any more */
	EAGER_CHECKS = 400,
};

struct counters {
	atomic_uint_fast64_t packets, passed, refused, dropped, real, dummies, send_errors;
};

struct pace {
	struct guard_conf conf;
	struct event_base *base;
	struct event *on_check, *on_end;
	struct stat files[2];	/* policy and site, as loaded last */
	unsigned retries;	/* so many times in a row, files and maps did not make a plan */

	int packets;		/* packet socket for the dummies */
	struct share *share;	/* the sockets of lean classes */
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
	uint32_t words[64];	/* random ones, the first words_left not yet used */
	size_t words_left;

	/* a plan on its way to the thread */
	pthread_mutex_t lock;
	struct plan *next;
	/* the newest, for plan_is_current() alone: the thread never frees it before it has a newer one */
	struct plan *known;
};

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

/* Random words for one packet; the kernel's generator is asked for many at a time. */
static const uint32_t *draw(struct pace *p)
{
	if (p->words_left < PACER_WORDS) {
		/* whole requests of up to 256 bytes cannot fail once the machine has booted */
		while (getrandom(p->words, sizeof(p->words), 0) != sizeof(p->words))
			;
		p->words_left = sizeof(p->words) / sizeof(p->words[0]);
	}
	p->words_left -= PACER_WORDS;
	return &p->words[p->words_left];
}

static bool admit(struct pace *p, const struct plan_place *place, const struct pacer_packet *packet)
{
	struct plan_tunnel *t = &p->plan->tunnels[place->tunnel];
	struct pacer *pacer = plan_pacer(t, &t->classes[place->class], place->peer, packet->arrived_ns);

	return pacer && pacer_admit(pacer, packet, draw(p));
}

static void take_packet(void *ctx, const struct queue_packet *packet)
{
	struct pace *p = ctx;
	struct pacer_packet held = { .id = packet->id,
				     .size = (uint32_t)packet->total,
				     .mark = packet->mark | TG_MARK_PACED };
	struct plan_place place;

	p->counters.packets++;
	switch (plan_classify(p->plan, packet, &place)) {
	case PLAN_PACE:
		if (p->plan->tunnels[place.tunnel].classes[place.class].lean_made) {
			/* it comes to its session by tg_egress, as the rest of the firewall leaves it */
			queue_verdict(p->queue, packet->id, NF_ACCEPT, &held.mark);
			return;
		}
		held.arrived_ns = monotonic_ns();
		if (admit(p, &place, &held))
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
static void send_cell(struct pace *p, const struct plan_tunnel *t, const struct plan_class *class,
		      const uint8_t *cell, atomic_uint_fast64_t *counter)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETHERTYPE_IPV6),
				  .sll_ifindex = (int)t->ifindex };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(class->mark))] = { 0 };
	struct iovec data = { (void *)(uintptr_t)cell, class->schedule.queue.cell };
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
		(*counter)++;
}

static void send_dummy(struct pace *p, const struct plan_tunnel *t, const struct plan_class *class,
		       unsigned peer)
{
	memcpy(class->dummy + offsetof(struct ip6_hdr, ip6_dst), t->peers[peer].dummy_target,
	       sizeof(t->peers[peer].dummy_target));
	send_cell(p, t, class, class->dummy, &p->counters.dummies);
}

static void serve_session(struct pace *p, const struct plan_tunnel *t, struct plan_class *class,
			  struct pacer *pacer)
{
	struct pacer_packet packet;

	for (;;) {
		switch (pacer_step(pacer, monotonic_ns(), *draw(p), &packet)) {
		case PACER_REAL:
			queue_verdict(p->queue, packet.id, NF_ACCEPT, &packet.mark);
			queue_flush(p->queue);
			p->counters.real++;
			break;
		case PACER_DUMMY:
			send_dummy(p, t, class, pacer->peer);
			break;
		case PACER_NOTHING:
			return;
		}
	}
}

static void serve_lean(struct pace *p, struct plan_tunnel *t, struct plan_class *class, struct lean *lean)
{
	size_t n = (size_t)(t - p->plan->tunnels);
	struct share_cell cell;

	do {
		if (share_step(p->share, p->plan, n, lean, monotonic_ns(), &cell))
			p->counters.send_errors++;
		else if (cell.step == LEAN_SINGLE)
			p->counters.real++;
		else if (cell.step == LEAN_DUMMY)
			send_cell(p, t, class, cell.data, &p->counters.dummies);
		else if (cell.step == LEAN_SHARED)
			send_cell(p, t, class, cell.data, &p->counters.real);
	} while (cell.step != LEAN_NOTHING);
}

static void serve_class(struct pace *p, struct plan_tunnel *t, struct plan_class *class)
{
	uint64_t now = monotonic_ns();

	for (size_t i = 0; i < class->lean_count; i++)
		if (class->lean_made[i]->next_ns && class->lean_made[i]->next_ns <= now)
			serve_lean(p, t, class, class->lean_made[i]);
	for (size_t i = 0; i < class->made_count; i++)
		if (class->made[i]->next_ns && class->made[i]->next_ns <= now)
			serve_session(p, t, class, class->made[i]);
}

/* Calls `each` for the paced classes of a plan. */
static void for_classes(struct pace *p, struct plan *plan,
			void (*each)(struct pace *p, struct plan_tunnel *t, struct plan_class *class))
{
	for (size_t i = 0; i < plan->policy->tunnel_count; i++) {
		struct plan_tunnel *t = &plan->tunnels[i];

		for (size_t k = 0; t->paced && k < plan->policy->tunnels[i].class_count; k++)
			if (t->classes[k].paced)
				each(p, t, &t->classes[k]);
	}
}

/* ---- in the thread: plans ---- */

/* The session of the peer that has the number, or of nobody: it may have been somebody else's. */
static void clear_strangers(const struct pace *p, struct plan_tunnel *t, const struct plan_class *class)
{
	const struct plan_tunnel *old = NULL;

	for (size_t i = 0; p->plan && i < p->plan->policy->tunnel_count; i++)
		if (p->plan->tunnels[i].pin == t->pin)
			old = &p->plan->tunnels[i];
	for (uint32_t n = 0; n < class->schedule.queue.room; n++)
		if (roster_is_free(&t->peers[n]) ||
		    (old && memcmp(&old->peers[n], &t->peers[n], sizeof(t->peers[n]))))
			t->sessions[class->schedule.queue.first + n] = (struct tg_session_state){ 0 };
}

static bool is_endless(const struct tg_schedule *schedule)
{
	return schedule->defence == TG_DEFENCE_CONSTANT && !schedule->queue.slots;
}

static bool make_session(struct plan_tunnel *t, struct plan_class *class, unsigned peer)
{
	return class->lean_made ? plan_lean(t, class, peer, monotonic_ns()) != NULL
				: plan_pacer(t, class, peer, monotonic_ns()) != NULL;
}

/* Sessions that run go on; the others wait for their first packets. */
static void start_class(struct pace *p, struct plan_tunnel *t, struct plan_class *class)
{
	struct tg_paced *shared = &t->shared[class->schedule.queue.class];
	struct tg_session_state *sessions = &t->sessions[class->schedule.queue.first];

	if (pacer_continues(shared, &class->schedule))
		clear_strangers(p, t, class);
	else
		memset(sessions, 0, class->schedule.queue.room * sizeof(*sessions));
	shared->schedule = class->schedule;
	for (uint32_t n = 0; n < class->schedule.queue.room; n++)
		if (!roster_is_free(&t->peers[n]) && (is_endless(&class->schedule) || sessions[n].left) &&
		    !make_session(t, class, n))
			say(p, "out of memory: a session of %s waits for its next packet", t->dp->tunnel);
	shared->flags = p->first_in && p->locked ? TG_PACED_REALTIME : 0;
	shared->generation = t->generation;
}

static void end_class(struct pace *p, struct plan_tunnel *t, struct plan_class *class)
{
	(void)p;
	t->shared[class->schedule.queue.class].generation = 0;
}

static void drop_held(void *ctx, const struct pacer_packet *packet)
{
	struct pace *p = ctx;

	queue_verdict(p->queue, packet->id, NF_DROP, NULL);
	p->counters.dropped++;
}

static struct plan_tunnel *find_tunnel(struct plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->policy->tunnel_count; i++)
		if (!strcmp(plan->policy->tunnels[i].name, name))
			return &plan->tunnels[i];
	return NULL;
}

static struct plan_class *find_class(struct plan *plan, struct plan_tunnel *t, const char *name)
{
	const struct tg_tunnel *tunnel = &plan->policy->tunnels[t - plan->tunnels];

	for (size_t i = 0; i < tunnel->class_count; i++)
		if (t->classes[i].paced && !strcmp(tunnel->classes[i].name, name))
			return &t->classes[i];
	return NULL;
}

/* Its number in `t`; mostly the one that it had. */
static bool find_peer(const struct plan_tunnel *t, const struct tg_peer_entry *entry, unsigned had,
		      unsigned *ret_number)
{
	if (had < t->dp->room && !memcmp(&t->peers[had], entry, sizeof(*entry))) {
		*ret_number = had;
		return true;
	}
	for (unsigned n = 0; n < t->dp->room; n++) {
		if (memcmp(&t->peers[n], entry, sizeof(*entry)))
			continue;
		*ret_number = n;
		return true;
	}
	return false;
}

static void carry_lean(const struct plan_tunnel *from, struct plan_class *old, struct plan_tunnel *t,
		       struct plan_class *class)
{
	for (size_t i = 0; i < old->lean_count && class->lean_made; i++) {
		struct lean *lean, *held = old->lean_made[i];
		unsigned peer = held->setup.peer, number;

		if (!find_peer(t, &from->peers[peer], peer, &number))
			continue;
		lean = plan_lean(t, class, number, monotonic_ns());
		if (lean)
			lean_take_over(lean, held, monotonic_ns());
	}
}

/* What waits in sessions of the old plan goes over into those of the same peers. */
static void carry_class(struct pace *p, const struct plan_tunnel *from, struct plan_class *old,
			struct plan_tunnel *t, struct plan_class *class)
{
	for (size_t i = 0; i < old->made_count; i++) {
		struct pacer *pacer, *held = old->made[i];
		unsigned number;

		if (!held->count || !find_peer(t, &from->peers[held->peer], held->peer, &number))
			continue;
		pacer = plan_pacer(t, class, number, monotonic_ns());
		if (pacer)
			pacer_take_over(pacer, held, monotonic_ns(), draw(p), drop_held, p);
	}
	carry_lean(from, old, t, class);
}

static void carry_over(struct pace *p, struct plan *next)
{
	for (size_t i = 0; i < next->policy->tunnel_count; i++) {
		const struct tg_tunnel *tunnel = &next->policy->tunnels[i];
		struct plan_tunnel *old = find_tunnel(p->plan, tunnel->name);

		for (size_t k = 0; old && k < tunnel->class_count; k++) {
			struct plan_class *class = &next->tunnels[i].classes[k], *before;

			before = class->paced ? find_class(p->plan, old, tunnel->classes[k].name) : NULL;
			if (before)
				carry_class(p, old, before, &next->tunnels[i], class);
		}
	}
}

static void drop_rest(struct pace *p, struct plan_tunnel *t, struct plan_class *class)
{
	(void)t;
	for (size_t i = 0; i < class->made_count; i++)
		pacer_clear(class->made[i], drop_held, p);
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

	if (ret)
		return ret;
	if (next->paced && !p->locked)
		p->locked = !mlockall(MCL_CURRENT | MCL_FUTURE);
	ret = share_adopt(p->share, next);
	if (ret)
		return tg_error(e, ret, "cannot listen on a segmenter: %s", strerror(-ret));
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

/* The event loop may be looking at it: `known`. */
static void give_back(struct pace *p, struct plan *plan)
{
	pthread_mutex_lock(&p->lock);
	if (!p->next) {
		p->next = plan;
		plan = NULL;
	}
	pthread_mutex_unlock(&p->lock);
	plan_free(plan);
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
	if (ret) {
		say(p, "cannot pace: %s", e.message);
		give_back(p, next);
	}
	return ret;
}

/* ---- in the thread: time ---- */

/* The earliest slot of a class's sessions and *next; 0 = none. */
static void find_earliest(const struct plan_class *class, uint64_t *next)
{
	for (size_t i = 0; i < class->made_count; i++) {
		uint64_t slot = class->made[i]->next_ns;

		if (slot && (!*next || slot < *next))
			*next = slot;
	}
	for (size_t i = 0; i < class->lean_count; i++) {
		uint64_t slot = class->lean_made[i]->next_ns;

		if (slot && (!*next || slot < *next))
			*next = slot;
	}
}

static uint64_t next_slot(const struct plan *plan)
{
	uint64_t next = 0;

	for (size_t i = 0; plan && i < plan->policy->tunnel_count; i++)
		for (size_t k = 0; k < plan->policy->tunnels[i].class_count; k++)
			find_earliest(&plan->tunnels[i].classes[k], &next);
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

enum { WAIT_NEWS, WAIT_TIMER, WAIT_QUEUE, WAIT_TAPS, WAIT_COUNT = WAIT_TAPS + TG_MAX_TUNNELS };

/* Packets and cells that the programs have handed over, before more packets are let through to them. */
static int take_handed(struct pace *p, const struct pollfd *wait)
{
	int ret = 0;

	for (size_t i = 0; p->plan && i < p->plan->policy->tunnel_count && !ret; i++)
		if (wait[WAIT_TAPS + i].revents)
			ret = share_receive(p->share, p->plan, i);
	if (ret)
		say(p, "a packet socket failed: %s", strerror(-ret));
	return ret;
}

/* One round: what is due, then what has come. */
static int run_round(struct pace *p)
{
	struct pollfd wait[WAIT_COUNT] = {
		[WAIT_NEWS] = { .fd = p->news, .events = POLLIN },
		[WAIT_TIMER] = { .fd = p->timer, .events = POLLIN },
		[WAIT_QUEUE] = { .fd = p->queue ? queue_fd(p->queue) : -1, .events = POLLIN },
	};
	int ret = 0;

	for (size_t i = 0; i < TG_MAX_TUNNELS; i++)
		wait[WAIT_TAPS + i] = (struct pollfd){
			.fd = p->plan && i < p->plan->policy->tunnel_count ? share_fd(p->share, p->plan, i)
									   : -1,
			.events = POLLIN,
		};

	if (p->plan && p->queue)
		for_classes(p, p->plan, serve_class);
	set_timer(p);
	if (poll(wait, sizeof(wait) / sizeof(wait[0]), -1) < 0)
		return errno == EINTR ? 0 : -errno;
	if (p->plan && p->queue)
		for_classes(p, p->plan, serve_class);
	ret = take_handed(p, wait);
	if (ret)
		return ret;
	if (wait[WAIT_QUEUE].revents)
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
static void check(struct pace *p)
{
	struct tg_error e = { "" };
	struct plan *plan;

	if (p->known && !p->retries && !files_changed(&p->conf, p->files) &&
	    plan_is_current(p->known, p->conf.pin_dir))
		return;
	if (load_plan(p, &plan, &e)) {
		p->retries++;
		return;
	}
	p->retries = 0;
	hand_over(p, plan);
}

/* What cannot be mended for many seconds is not tried so often any more. */
static void schedule_check(struct pace *p)
{
	bool eager = p->known && p->known->paced && p->retries < EAGER_CHECKS;
	const struct timeval pause = { .tv_usec = eager ? PACING_CHECK_US : CHECK_US };

	if (event_add(p->on_check, &pause)) {
		p->failure = -ENOMEM;
		event_base_loopbreak(p->base);
	}
}

static void on_check(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	check(ctx);
	schedule_check(ctx);
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
	p->on_check = event_new(p->base, -1, 0, on_check, p);
	p->on_end = event_new(p->base, p->ended, EV_READ, thread_ended, p);
	if (!p->on_check || !p->on_end || event_add(p->on_end, NULL))
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
		ret = share_new(&p->share, e);
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
	share_free(p->share);
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
