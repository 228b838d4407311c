/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/parse.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static const struct unit {
	const char *name;
	uint64_t ns;
} units[] = {
	{ "d", 86400000000000ull }, { "h", 3600000000000ull }, { "min", 60000000000ull },
	{ "s", 1000000000ull },     { "ms", 1000000ull },      { "us", 1000ull },
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads up to `max` digits from *p on. Returns how many there were. */
static int take_digits(const char **p, int max, uint64_t *ret_value)
{
	uint64_t value = 0;
	int n;

	for (n = 0; n < max && is_digit((*p)[n]); n++)
		value = value * 10 + (uint64_t)((*p)[n] - '0');
	*p += n;
	*ret_value = value;
	return n;
}

static const struct unit *find_unit(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(name, units[i].name))
			return &units[i];
	return NULL;
}

int tg_parse_duration(const char *text, uint64_t *ret_ns)
{
	uint64_t whole, fraction = 0, scale = 1;
	const struct unit *unit;
	int places = 0;

	if (!take_digits(&text, 18, &whole))
		return -EINVAL;
	if (*text == '.') {
		text++;
		places = take_digits(&text, 3, &fraction);
		if (!places)
			return -EINVAL;
	}
	unit = find_unit(text);
	if (!unit)
		return -EINVAL;
	if (whole > UINT64_MAX / 2 / unit->ns)
		return -ERANGE;
	while (places--)
		scale *= 10;
	*ret_ns = whole * unit->ns + fraction * unit->ns / scale;
	return 0;
}

const char *tg_duration_text(uint64_t ns, char text[static TG_DURATION_TEXT_LEN])
{
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (!ns || ns % units[i].ns)
			continue;
		snprintf(text, TG_DURATION_TEXT_LEN, "%" PRIu64 "%s", ns / units[i].ns, units[i].name);
		return text;
	}
	snprintf(text, TG_DURATION_TEXT_LEN, "%" PRIu64 "ns", ns);
	return text;
}

int tg_parse_u32(const char *text, uint32_t *ret_value)
{
	uint64_t value;

	if (!take_digits(&text, 18, &value) || *text)
		return -EINVAL;
	if (value > UINT32_MAX)
		return -ERANGE;
	*ret_value = (uint32_t)value;
	return 0;
}

int tg_parse_range(const char *text, uint32_t min, uint32_t max, uint32_t *ret_lo, uint32_t *ret_hi)
{
	uint64_t lo, hi;

	if (!take_digits(&text, 18, &lo))
		return -EINVAL;
	hi = lo;
	if (*text == '-') {
		text++;
		if (!take_digits(&text, 18, &hi))
			return -EINVAL;
	}
	if (*text)
		return -EINVAL;
	if (lo < min || hi > max || lo > hi)
		return -ERANGE;
	*ret_lo = (uint32_t)lo;
	*ret_hi = (uint32_t)hi;
	return 0;
}

/* Decimal or 0x hexadecimal, up to `end`. */
static int parse_word(const char *text, const char *end, uint32_t *ret_value)
{
	unsigned long long value;
	char *stop;

	if (!is_digit(*text))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &stop, text[1] == 'x' ? 16 : 10);
	if (stop != end)
		return -EINVAL;
	if (errno || value > UINT32_MAX)
		return -ERANGE;
	*ret_value = (uint32_t)value;
	return 0;
}

int tg_parse_mark(const char *text, uint32_t *ret_mark, uint32_t *ret_mask)
{
	const char *slash = strchrnul(text, '/');
	uint32_t mark, mask = UINT32_MAX;
	int ret;

	ret = parse_word(text, slash, &mark);
	if (!ret && *slash)
		ret = parse_word(slash + 1, slash + 1 + strlen(slash + 1), &mask);
	if (ret)
		return ret;
	if (!mask || (mark & ~mask))
		return -ERANGE;
	*ret_mark = mark;
	*ret_mask = mask;
	return 0;
}

int tg_parse_cidr(const char *text, struct tg_cidr *ret_cidr)
{
	const char *slash = strchrnul(text, '/');
	struct tg_cidr cidr = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };
	uint32_t length = cidr.family == AF_INET ? 32 : 128, max = length;
	char addr[INET6_ADDRSTRLEN];
	int ret;

	if ((size_t)(slash - text) >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, (size_t)(slash - text));
	addr[slash - text] = '\0';
	if (inet_pton(cidr.family, addr, cidr.addr) != 1)
		return -EINVAL;
	if (*slash) {
		ret = tg_parse_u32(slash + 1, &length);
		if (ret)
			return ret;
	}
	if (length > max)
		return -ERANGE;
	cidr.length = (uint8_t)length;
	*ret_cidr = cidr;
	return 0;
}

int tg_parse_endpoint(const char *text, struct tg_endpoint *ret_endpoint)
{
	bool v6 = text[0] == '[';
	const char *colon = strrchr(text, ':');
	struct tg_endpoint endpoint = { .family = v6 ? AF_INET6 : AF_INET };
	char host[INET6_ADDRSTRLEN];
	const char *start, *end;
	uint32_t port;
	int ret;

	if (!colon || (v6 && (colon == text || colon[-1] != ']')))
		return -EINVAL;
	start = v6 ? text + 1 : text;
	end = v6 ? colon - 1 : colon;
	if (end < start || (size_t)(end - start) >= sizeof(host))
		return -EINVAL;
	memcpy(host, start, (size_t)(end - start));
	host[end - start] = '\0';
	if (inet_pton(endpoint.family, host, endpoint.addr) != 1)
		return -EINVAL;
	ret = tg_parse_u32(colon + 1, &port);
	if (ret)
		return ret;
	if (!port || port > 65535)
		return -ERANGE;
	endpoint.port = (uint16_t)port;
	*ret_endpoint = endpoint;
	return 0;
}

bool tg_host_name_valid(const char *text)
{
	size_t label = 0, len = strlen(text);
	struct in_addr addr;

	if (!len || len > 253 || text[len - 1] == '-' || inet_pton(AF_INET, text, &addr) == 1)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c == '.') {
			if (!label || text[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!((c >= 'a' && c <= 'z') || is_digit(c) || c == '_' || (c == '-' && label)) ||
		    ++label > 63)
			return false;
	}
	return label > 0;
}
