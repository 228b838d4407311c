/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/punctual.h"
#include "common/tool.h"

struct watch {
	pthread_t thread;
	int cpu;
	const struct punctual *owner;
	struct punctual_result result;
};

struct punctual {
	int64_t period_ns;
	atomic_bool stop;
	size_t count;
	struct watch watches[];
};

static void *run(void *ctx)
{
	struct watch *w = ctx;
	const struct punctual *p = w->owner;
	int64_t due = tool_now_ns(CLOCK_MONOTONIC) + p->period_ns, late;
	struct timespec at;

	while (!p->stop) {
		at = (struct timespec){ due / TOOL_NS_PER_S, due % TOOL_NS_PER_S };
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
			;
		late = tool_now_ns(CLOCK_MONOTONIC) - due;
		w->result.wakes++;
		w->result.late += late > p->period_ns / 2;
		if (late > w->result.worst_ns)
			w->result.worst_ns = late;
		/* what was slept through is not slept through again */
		due += (late / p->period_ns + 1) * p->period_ns;
	}
	return NULL;
}

static int start_on(struct punctual *p, int cpu, struct tg_error *e)
{
	struct watch *w = &p->watches[p->count];
	pthread_attr_t attr;
	cpu_set_t set;
	int ret = pthread_attr_init(&attr);

	if (ret)
		return tg_error(e, -ret, "cannot make a thread: %s", strerror(ret));
	*w = (struct watch){ .cpu = cpu, .owner = p };
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	ret = pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	if (!ret)
		ret = pthread_create(&w->thread, &attr, run, w);
	pthread_attr_destroy(&attr);
	if (ret)
		return tg_error(e, -ret, "cannot make a thread on processor %d: %s", cpu, strerror(ret));
	p->count++;
	return 0;
}

int punctual_start(int64_t period_ns, struct punctual **ret_punctual, struct tg_error *e)
{
	struct punctual *p;
	cpu_set_t set;
	int ret = 0;

	if (sched_getaffinity(0, sizeof(set), &set))
		return tg_error(e, -errno, "sched_getaffinity: %s", strerror(errno));
	p = calloc(1, sizeof(*p) + (size_t)CPU_COUNT(&set) * sizeof(p->watches[0]));
	if (!p)
		return tg_error(e, -ENOMEM, "out of memory");
	p->period_ns = period_ns;
	for (int cpu = 0; cpu < CPU_SETSIZE && !ret; cpu++)
		if (CPU_ISSET(cpu, &set))
			ret = start_on(p, cpu, e);
	if (ret) {
		struct punctual_result unused;

		punctual_stop(p, &unused);
		return ret;
	}
	*ret_punctual = p;
	return 0;
}

void punctual_stop(struct punctual *p, struct punctual_result *ret_result)
{
	*ret_result = (struct punctual_result){ 0 };
	if (!p)
		return;
	p->stop = true;
	for (size_t i = 0; i < p->count; i++) {
		const struct punctual_result *r = &p->watches[i].result;

		pthread_join(p->watches[i].thread, NULL);
		ret_result->wakes += r->wakes;
		ret_result->late += r->late;
		if (r->worst_ns > ret_result->worst_ns)
			ret_result->worst_ns = r->worst_ns;
	}
	free(p);
}
