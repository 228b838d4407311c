/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What this kernel offers, found by trying it in a network namespace that ends
 * with the process: nothing is guessed from a version number.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libnetfilter_queue/libnetfilter_queue.h>

#include "commands.h"
#include "instance/instance.h"
#include "net/process.h"
#include "net/userspace.h"

struct probe_context {
	struct net *net;
	unsigned veth;		/* ifindex of the probe pair's head, 0 = none */
};

struct probe {
	const char *name;
	const char *what;	/* needed for this */
	const char *enable;	/* what to enable or install */
	bool required;		/* without it there is no engine for the policies that are shipped */
	int (*run)(struct probe_context *c, struct tg_error *e);
};

struct result {
	bool ok;
	char message[256];
};

static int probe_veth(struct probe_context *c, struct tg_error *e)
{
	struct net_link link;
	int ret = net_veth_ensure(c->net, "tgprobe", "tgprobep", 1500, 16, TG_LINK_ALIAS "probe", e);

	if (!ret)
		ret = net_link_get(c->net, "tgprobe", &link, e);
	if (!ret)
		c->veth = link.ifindex;
	return ret;
}

static int need_veth(const struct probe_context *c, struct tg_error *e)
{
	return c->veth ? 0 : tg_error(e, -ENODEV, "not tried: it needs veth");
}

static int probe_htb(struct probe_context *c, struct tg_error *e)
{
	int ret = need_veth(c, e);

	return ret ? ret : dataplane_probe_clock(c->net, c->veth, e);
}

static int probe_tbf(struct probe_context *c, struct tg_error *e)
{
	int ret = need_veth(c, e);

	return ret ? ret : net_pace_tbf(c->net, c->veth, 34800, 174, e);
}

static int probe_fq(struct probe_context *c, struct tg_error *e)
{
	int ret = need_veth(c, e);

	return ret ? ret : net_pace_fq(c->net, c->veth, e);
}

static int probe_programs(struct probe_context *c, struct tg_error *e)
{
	int ret = need_veth(c, e);

	return ret ? ret : dataplane_probe(c->veth, e);
}

static int probe_wireguard(struct probe_context *c, struct tg_error *e)
{
	bool available;
	int ret = wg_kernel_available(c->net, &available, e);

	if (!ret && !available)
		ret = tg_error(e, -ENOENT, "this kernel makes no wireguard devices");
	return ret;
}

/* Whether the program starts and ends with success. */
static int try_program(const char *const *argv, struct tg_error *e)
{
	const struct process process = { .argv = argv, .timeout_ms = 5000 };
	struct process_result result;
	int ret = process_run(&process, &result, e);

	if (ret)
		return ret;
	free(result.output);
	if (result.status)
		return tg_error(e, -EIO, "%s: %s", argv[0], result.message[0] ? result.message : "it failed");
	return 0;
}

static int probe_wireguard_go(struct probe_context *c, struct tg_error *e)
{
	const char *program = getenv("TG_WIREGUARD_GO");
	const char *const argv[] = { program ? program : "wireguard-go", "--version", NULL };
	int ret = try_program(argv, e);

	(void)c;
	if (ret)
		return ret;
	if (access("/dev/net/tun", R_OK | W_OK))
		return tg_error(e, -errno, "/dev/net/tun: %s", strerror(errno));
	return 0;
}

static int probe_rules(struct probe_context *c, struct tg_error *e)
{
	const struct net_rule rule = { .family = AF_INET,
				       .priority = 5400,
				       .proto = IPPROTO_TCP,
				       .dport = { 1, 2 },
				       .has_uid = true,
				       .uid_lo = 1,
				       .uid_hi = 2,
				       .blackhole = true };

	return net_rule_ensure(c->net, &rule, e);
}

static int probe_iptables(struct probe_context *c, struct tg_error *e)
{
	int ret = iptables_try(e);

	(void)c;
	return ret;
}

static int probe_nfqueue(struct probe_context *c, struct tg_error *e)
{
	struct nfq_handle *h = nfq_open();
	struct nfq_q_handle *q;
	int ret = 0;

	(void)c;
	if (!h)
		return tg_error(e, -errno, "no nfnetlink_queue: %s", strerror(errno));
	q = nfq_create_queue(h, 5400, NULL, NULL);
	if (!q)
		ret = tg_error(e, -errno, "no nfnetlink_queue: %s", strerror(errno));
	else
		nfq_destroy_queue(q);
	nfq_close(h);
	return ret;
}

/* The child ends soon: nothing of ours goes on with it. */
static int probe_priority(struct probe_context *c, struct tg_error *e)
{
	(void)c;
	if (setpriority(PRIO_PROCESS, 0, WG_USERSPACE_NICE))
		return tg_error(e, -errno, "nice %d: %s", WG_USERSPACE_NICE, strerror(errno));
	return 0;
}

static int probe_cgroup2(struct probe_context *c, struct tg_error *e)
{
	(void)c;
	if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) &&
	    access("/sys/fs/cgroup/unified/cgroup.procs", F_OK))
		return tg_error(e, -ENOENT, "no cgroup2 hierarchy is mounted");
	return 0;
}

/* The last one: the child goes on at that priority. */
static int probe_realtime(struct probe_context *c, struct tg_error *e)
{
	const struct sched_param param = { .sched_priority = 1 };

	(void)c;
	if (sched_setscheduler(0, SCHED_FIFO, &param))
		return tg_error(e, -errno, "SCHED_FIFO: %s", strerror(errno));
	return 0;
}

static const struct probe probes[] = {
	{ "veth", "queues and segmenter", "CONFIG_VETH", true, probe_veth },
	{ "htb", "the clock of paced classes: the engine kernel", "CONFIG_NET_SCH_HTB; else the agent paces",
	  false, probe_htb },
	{ "tbf", "the clock of front and wtf-pad classes", "CONFIG_NET_SCH_TBF; else fq serves", false,
	  probe_tbf },
	{ "fq", "exact times of front and wtf-pad classes", "CONFIG_NET_SCH_FQ; else tbf serves", false,
	  probe_fq },
	{ "programs", "classify, pad, pace", "CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF, CONFIG_NET_SCH_INGRESS",
	  true, probe_programs },
	{ "rules", "routing into the tunnel, fail closed",
	  "CONFIG_IP_MULTIPLE_TABLES, CONFIG_IPV6_MULTIPLE_TABLES", true, probe_rules },
	{ "iptables", "fail closed; cells below the MTU; rules with uid, cgroup or sni",
	  "the package iptables", true, probe_iptables },
	{ "wireguard", "tunnels in the kernel", "CONFIG_WIREGUARD; else wireguard-go serves", false,
	  probe_wireguard },
	{ "wireguard-go", "tunnels without kernel WireGuard", "the package wireguard-go and CONFIG_TUN",
	  false, probe_wireguard_go },
	{ "nfqueue", "the agent as engine of paced classes; rules with uid, cgroup or sni",
	  "CONFIG_NETFILTER_NETLINK_QUEUE, CONFIG_NETFILTER_XT_TARGET_NFQUEUE", false, probe_nfqueue },
	{ "priority", "wireguard-go keeps time on a busy machine", "CAP_SYS_NICE", false, probe_priority },
	{ "cgroup2", "rules with cgroup", "a cgroup2 mount", false, probe_cgroup2 },
	{ "realtime", "the agent keeps time on a busy machine", "CAP_SYS_NICE", false, probe_realtime },
};

enum {
	PROBE_COUNT = sizeof(probes) / sizeof(probes[0]),
	HTB = 1,
	WIREGUARD = 7,
	WIREGUARD_GO = 8,
	NFQUEUE = 9
};

/* In the child: a namespace of its own, so that nothing of the probes is left. */
static int run_probes(struct result *results)
{
	struct probe_context c = { 0 };
	struct tg_error e = { "" };

	if (unshare(CLONE_NEWNET) || net_open(&c.net, &e))
		return 1;
	for (int i = 0; i < PROBE_COUNT; i++) {
		e.message[0] = 0;
		results[i].ok = !probes[i].run(&c, &e);
		if (results[i].ok)
			e.message[0] = 0;	/* left by an attempt on the way */
		snprintf(results[i].message, sizeof(results[i].message), "%.255s", e.message);
	}
	net_close(c.net);
	return 0;
}

static int probe_in_child(struct result *results, struct tg_error *e)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return tg_error(e, -errno, "cannot fork: %s", strerror(errno));
	if (!pid)
		_exit(run_probes(results));
	if (waitpid(pid, &status, 0) != pid)
		return tg_error(e, -errno, "cannot wait for the probes: %s", strerror(errno));
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return tg_error(e, -EIO,
				"the probes could not make a network namespace (needs root, CONFIG_NET_NS)");
	return 0;
}

/* What engine = "auto" becomes, and why. */
struct verdict {
	const char *engine, *why;
};

static struct verdict choose_engine(const struct result *results)
{
	for (int i = 0; i < PROBE_COUNT; i++)
		if (probes[i].required && !results[i].ok)
			return (struct verdict){ "none", "something required is missing" };
	if (!results[WIREGUARD].ok && !results[WIREGUARD_GO].ok)
		return (struct verdict){ "none", "no WireGuard" };
	if (results[HTB].ok)
		return (struct verdict){ "kernel", "it has all that the queue needs which is its own clock" };
	if (results[NFQUEUE].ok)
		return (struct verdict){ "queue", "no htb: tensorguard-agent has to pace" };
	return (struct verdict){ "none", "neither htb nor nfqueue" };
}

static bool engine_runs(const struct result *results)
{
	return strcmp(choose_engine(results).engine, "none");
}

static json_t *check_json(const struct result *results, const char *kernel)
{
	json_t *list = json_array();

	for (int i = 0; i < PROBE_COUNT; i++)
		json_array_append_new(list, json_pack("{s:s, s:b, s:b, s:s, s:s, s:s}", "name",
						      probes[i].name, "ok", results[i].ok, "required",
						      probes[i].required, "for", probes[i].what, "enable",
						      probes[i].enable, "message", results[i].message));
	return json_pack("{s:s, s:s, s:s, s:s, s:o}", "kernel", kernel, "engine",
			 choose_engine(results).engine, "why", choose_engine(results).why, "tunnel",
			 results[WIREGUARD].ok      ? "wireguard"
			 : results[WIREGUARD_GO].ok ? "wireguard-go"
						    : "external only",
			 "features", list);
}

static int check_text(const struct result *results, const char *kernel, struct tg_error *e)
{
	printf("kernel %s\n", kernel);
	for (int i = 0; i < PROBE_COUNT; i++) {
		printf("  %-4s %-13s %s\n", results[i].ok ? "yes" : "no", probes[i].name, probes[i].what);
		if (!results[i].ok)
			printf("       %s; enable %s%s\n", results[i].message, probes[i].enable,
			       probes[i].required ? " (required)" : "");
	}
	printf("engine: %s\nwhy: %s\n", choose_engine(results).engine, choose_engine(results).why);
	return fflush(stdout) ? tg_error(e, -EIO, "cannot write to standard output") : 0;
}

int cmd_check(struct tg_cli *cli, struct tg_error *e)
{
	struct result *results;
	struct utsname name;
	int ret;

	if (cli->arg_count)
		return tg_error(e, TG_CLI_USAGE, "unexpected argument '%.60s'", cli->args[0]);
	if (geteuid())
		return tg_error(e, -EPERM, "needs root: it tries things instead of guessing");
	if (uname(&name))
		return tg_error(e, -errno, "uname: %s", strerror(errno));
	results = mmap(NULL, PROBE_COUNT * sizeof(*results), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (results == MAP_FAILED)
		return tg_error(e, -errno, "out of memory");
	ret = probe_in_child(results, e);
	if (!ret)
		ret = cli->json ? tg_cli_print_json(check_json(results, name.release), e)
				: check_text(results, name.release, e);
	if (!ret && !engine_runs(results))
		ret = tg_error(e, TG_CLI_REPORTED, "no engine can run here");
	munmap(results, PROBE_COUNT * sizeof(*results));
	return ret;
}
