/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/message.h"
#include "common/tool.h"
#include "common/trace.h"
#include "harness.h"

static int load_text(struct trace *trace, const char *text, struct tg_error *e)
{
	char path[] = "/tmp/tg-trace-test-XXXXXX";
	int fd = mkstemp(path), ret;

	CU_ASSERT_TRUE_FATAL(fd >= 0);
	CU_ASSERT_EQUAL_FATAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	ret = trace_load(trace, path, e);
	unlink(path);
	return ret;
}

TEST(trace, rows_and_messages)
{
	struct trace trace = { 0 };

	CU_ASSERT_EQUAL_FATAL(
		load_text(&trace, TRACE_HEADER "\n0,1,60,0\n642,1,108,56\r\n955,-1,52,0\n400579,-1,81,29\n",
			  NULL),
		0);
	CU_ASSERT_EQUAL_FATAL(trace.count, 4);
	CU_ASSERT_EQUAL(trace.rows[1].payload_bytes, 56);
	CU_ASSERT_EQUAL(trace.rows[3].direction, TRACE_TO_CONTROLLER);
	trace_keep_messages(&trace, 0);
	CU_ASSERT_EQUAL_FATAL(trace.count, 2);
	CU_ASSERT_EQUAL(trace.rows[1].time_us, 400579);
	trace_keep_messages(&trace, 400578);
	CU_ASSERT_EQUAL(trace.count, 1);
	trace_free(&trace);
}

TEST(trace, sorting_keeps_the_order_of_equal_times)
{
	static const int64_t times[] = { 5, 1, 5, 3, 1 };
	static const uint32_t sorted[] = { 1, 4, 3, 0, 2 };
	struct trace trace = { 0 };

	for (uint32_t i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(trace_append(&trace, &(struct trace_row){ times[i], 1, i, i }, NULL), 0);
	trace_sort(&trace);
	for (size_t i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(trace.rows[i].ip_bytes, sorted[i]);
	trace_free(&trace);
}

TEST(trace, bad_rows_are_refused_with_their_line)
{
	static const char *const bad[] = {
		"0,1,60\n",     "0,2,60,0\n", "0,1,60,65536\n", "0,1,-1,0\n",  "-1,1,60,0\n",
		"0,1,60,0,0\n", "0,1,60,a\n", "0x1,1,60,0\n",   "0,+1,60,0\n",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct trace trace = { 0 };
		struct tg_error e = { "" };
		char text[128];

		snprintf(text, sizeof(text), "%s\n%s", TRACE_HEADER, bad[i]);
		CU_ASSERT_EQUAL(load_text(&trace, text, &e), -EINVAL);
		CU_ASSERT_PTR_NOT_NULL(strstr(e.message, ":2: "));
		trace_free(&trace);
	}
}

TEST(trace, message_content_depends_on_number_and_seed)
{
	uint8_t a[61], b[61];

	message_fill(a, sizeof(a), 1, 258);
	CU_ASSERT_EQUAL(a[6], 1);
	CU_ASSERT_EQUAL(a[7], 2);
	message_fill(b, sizeof(b), 1, 258);
	CU_ASSERT_FALSE(memcmp(a, b, sizeof(a)));
	message_fill(b, sizeof(b), 2, 258);
	CU_ASSERT_TRUE(memcmp(a + 8, b + 8, sizeof(a) - 8));
	message_fill(b, sizeof(b), 1, 259);
	CU_ASSERT_TRUE(memcmp(a + 8, b + 8, sizeof(a) - 8));
	memset(b, 0xaa, sizeof(b));
	message_fill(b, 5, 1, 258);
	CU_ASSERT_EQUAL(b[5], 0xaa);
}

TEST(trace, numbers_of_the_command_line_are_strict)
{
	static const char *const bad[] = { "",     "-1",  "+1",  " 1", "1 ",    "1e3",
					   "0x10", "nan", "inf", ".",  "1.2.3", "101" };
	uint64_t whole;
	double real;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CU_ASSERT_EQUAL(tool_parse_real(bad[i], "n", 0, 100, &real, NULL), -EINVAL);
		CU_ASSERT_EQUAL(tool_parse_whole(bad[i], "n", 0, 100, &whole, NULL), -EINVAL);
	}
	CU_ASSERT_EQUAL(tool_parse_whole("1.5", "n", 0, 100, &whole, NULL), -EINVAL);
	CU_ASSERT_EQUAL(tool_parse_real("1.5", "n", 0, 100, &real, NULL), 0);
	CU_ASSERT_DOUBLE_EQUAL(real, 1.5, 1e-12);
	CU_ASSERT_EQUAL(tool_parse_whole("100", "n", 0, 100, &whole, NULL), 0);
	CU_ASSERT_EQUAL(whole, 100);
}
