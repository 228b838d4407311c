/* SPDX-License-Identifier: BSD-3-Clause */
/* The chain that keeps TCP within small cells. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "net/iptables.h"

#define POLICY(classes, rules)                                                                         \
	"version = 1; name = \"t\"; policy_version = 1L; role = \"edge\"; profile = \"lab\"; fail = "  \
	"\"open\";\n"                                                                                  \
	"tunnels = ( { name = \"tg0\"; external = \"wgx\"; mtu = 1420; default = \"rest\"; classes = " \
	"(" classes "); } ); rules = (" rules ");\n"
#define CLASS(name, cell) "{ name = \"" name "\"; defence = \"pad\"; pad = \"cell\"; cell = " cell "; }"

static void check_script(const char *policy_text, int family, const char *const *lines, size_t count)
{
	struct tg_policy *policy = NULL;
	struct tg_error e = { "" };
	char *text = NULL;
	size_t clamps = 0;

	CU_ASSERT_EQUAL_FATAL(tg_policy_parse(policy_text, strlen(policy_text), "test", &policy, &e), 0);
	CU_ASSERT_EQUAL_FATAL(iptables_script(policy, family, "", &text), 0);
	CU_ASSERT_EQUAL(text != NULL, count > 0);
	for (size_t i = 0; i < count; i++)
		CU_ASSERT_PTR_NOT_NULL(strstr(text, lines[i]));
	for (const char *p = text; p && (p = strstr(p, "--tcp-flags")); p++)
		clamps++;
	CU_ASSERT_EQUAL(clamps, count);
	free(text);
	tg_policy_free(policy);
}

TEST(net_mss, cells_as_large_as_the_mtu_need_no_clamp)
{
	check_script(POLICY(CLASS("rest", "1420"),
			    "{ tunnel = \"tg0\"; class = \"rest\"; to = ( \"10.0.0.0/8\" ); }"),
		     AF_INET, NULL, 0);
}

TEST(net_mss, each_rule_ends_at_its_class)
{
	static const char *const v4[] = {
		" -d 10.1.0.0/16 -p 6 -m multiport --dports 443 -m tcp --tcp-flags SYN,RST SYN -j RETURN\n",
		" -o wgx -d 10.0.0.0/8 -p 6 -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 120\n",
		"-A TENSORGUARD_MSS -o wgx -d 10.0.0.0/8 -p 6 -m tcp --tcp-flags SYN,RST SYN -j RETURN\n",
	};
	static const char *const rules =
		POLICY(CLASS("rest", "1420") "," CLASS("small", "160"),
		       "{ tunnel = \"tg0\"; class = \"rest\"; to = ( \"10.1.0.0/16\" ); proto = \"tcp\"; "
		       "ports = ( 443 ); },"
		       "{ tunnel = \"tg0\"; class = \"small\"; to = ( \"10.0.0.0/8\" ); },"
		       "{ tunnel = \"tg0\"; class = \"small\"; to = ( \"10.9.0.0/16\" ); proto = \"udp\"; }");

	check_script(rules, AF_INET, v4, 3);
}

TEST(net_mss, the_default_class_comes_last_and_ipv6_has_a_longer_header)
{
	static const char *const v6[] = {
		" -o wgx -d fd00::/16 -p 6 -m tcp --tcp-flags SYN,RST SYN -j RETURN\n",
		"-o wgx -p 6 -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 196\nCOMMIT",
	};

	check_script(POLICY(CLASS("rest", "256") "," CLASS("large", "1420"),
			    "{ tunnel = \"tg0\"; class = \"large\"; to = ( \"fd00::/16\" ); }"),
		     AF_INET6, v6, 2);
}
