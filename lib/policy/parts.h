/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of a policy file, one function each, and the checks that span several of them. */
#ifndef POLICY_PARTS_H
#define POLICY_PARTS_H

#include "policy/conf.h"
#include "tensorguard/compile.h"

extern const struct conf_word policy_roles[], policy_profiles[], policy_fails[], policy_engines[];
extern const struct conf_word policy_defences[], policy_pad_modes[], policy_overflows[], policy_protocols[];
extern const struct conf_word policy_violations[];
extern const struct conf_word policy_clocks[], policy_distributions[];

int policy_parse_tunnel(struct conf *c, const config_setting_t *s, struct tg_tunnel *t);
/* The form of an entry of the site file; its name points into the file. */
int policy_check_site_tunnel(struct conf *c, const config_setting_t *s, const char **ret_name);
int policy_parse_class(struct conf *c, const config_setting_t *s, const struct tg_tunnel *t,
		       struct tg_policy_class *class);
int policy_parse_budget(struct conf *c, const config_setting_t *s, struct tg_policy_budget *b);
/* What only `front` and `wtf-pad` classes have; `pad` and `cell` are known. */
int policy_parse_front(struct conf_group *g, struct tg_policy_class *class);
int policy_parse_wtfpad(struct conf_group *g, struct tg_policy_class *class);
/* What only these have; the padding of the first and the cell of the second are known. */
int policy_parse_jitter(struct conf_group *g, struct tg_policy_class *class);
int policy_parse_regulator(struct conf_group *g, struct tg_policy_class *class);
/* The same for `lean`. */
int policy_parse_lean(struct conf_group *g, const struct tg_tunnel *t, struct tg_policy_class *class);
void policy_compile_lean(const struct tg_policy *policy, const struct tg_policy_class *class,
			 struct tg_schedule *schedule);
/* What may wait for a queue whose period is known. */
void policy_compile_backlog(const struct tg_policy_class *class, struct tg_queue *queue);
/* `class` has a metronome. */
void policy_compile_metronome(const struct tg_policy_class *class, struct tg_compiled_metronome *out);
int policy_parse_rule(struct conf *c, const config_setting_t *s, struct tg_policy_rule *rule);

/* What no single tunnel or rule can know: errors, then warnings. */
int policy_check_tunnels(const struct conf *c);
int policy_add_warnings(struct conf *c);

/* Whether some packet of `family` can match. */
bool policy_rule_has_family(const struct tg_policy_rule *rule, int family);

#endif
