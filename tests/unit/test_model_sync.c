/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "tensorguard/model_sync.h"

#define HEX_A "abababababababababababababababababababababababababababababababab"
#define HEX_B "0101010101010101010101010101010101010101010101010101010101010101"

static struct tg_error e;

static int decode_request(const char *text, struct tg_models_request *ret_request)
{
	return tg_models_request_decode(text, strlen(text), ret_request, &e);
}

static int decode_answer(const char *text)
{
	static struct tg_models_answer answer;

	return tg_models_answer_decode(text, strlen(text), &answer, &e);
}

TEST(model_sync, a_request_comes_back_as_it_was)
{
	static struct tg_models_request request, back;
	struct tg_bytes text;

	request.root = 3;
	memset(request.tag, 0xab, sizeof(request.tag));
	request.report_count = TG_MODELS_MAX;
	for (size_t i = 0; i < TG_MODELS_MAX; i++) {
		struct tg_model_report *report = &request.reports[i];

		snprintf(report->model, sizeof(report->model), "grasp-%zu", i);
		report->release = i ? INT64_MAX : 1;
		memset(report->manifest, (int)i, sizeof(report->manifest));
		report->state = i % TG_MODEL_STATES;
		report->since = 1000 + (int64_t)i;
		snprintf(report->detail, sizeof(report->detail), "%s",
			 i % 2 ? "no such file: 'x' \"y\"" : "");
	}
	CU_ASSERT_EQUAL_FATAL(tg_models_request_encode(&request, &text, &e), 0);
	CU_ASSERT_EQUAL_FATAL(tg_models_request_decode(text.data, text.len, &back, &e), 0);
	CU_ASSERT(!memcmp(&request, &back, sizeof(back)));
	for (size_t len = 0; len < text.len; len += 13)
		CU_ASSERT_EQUAL(tg_models_request_decode(text.data, len, &back, &e), -EINVAL);
	tg_bytes_free(&text);
}

TEST(model_sync, the_request_of_a_device_without_models_is_empty)
{
	static struct tg_models_request request, back;
	struct tg_bytes text;

	CU_ASSERT_EQUAL_FATAL(tg_models_request_encode(&request, &text, &e), 0);
	CU_ASSERT_STRING_EQUAL((char *)text.data, "{}");
	CU_ASSERT_EQUAL(decode_request("{}", &back), 0);
	CU_ASSERT(!memcmp(&request, &back, sizeof(back)));
	tg_bytes_free(&text);
}

TEST(model_sync, an_answer_has_exactly_these_bytes)
{
	static struct tg_models_answer answer, back;
	static const char expected[] =
		"{\"tag\":\"" HEX_A
		"\",\"assignments\":[{\"model\":\"grasp\",\"release\":7,\"manifest\":\"" HEX_B
		"\",\"blob\":\"" HEX_A "\",\"size\":4096}],\"revoked\":[{\"manifest\":\"" HEX_B
		"\"}],\"trust\":[{\"role\":\"root\",\"version\":2,\"blob\":\"" HEX_A
		"\",\"size\":9},{\"role\":\"targets\",\"version\":5,\"blob\":\"" HEX_A
		"\",\"size\":9},{\"role\":\"snapshot\",\"version\":5,\"blob\":\"" HEX_A
		"\",\"size\":9},{\"role\":\"timestamp\",\"version\":6,\"blob\":\"" HEX_A "\",\"size\":9}]}";
	static const uint64_t versions[] = { 2, 5, 5, 6 };
	struct tg_bytes text;

	memset(answer.tag, 0xab, sizeof(answer.tag));
	answer.assignment_count = 1;
	answer.assignments[0] = (struct tg_model_assignment){ .model = "grasp", .release = 7, .size = 4096 };
	memset(answer.assignments[0].manifest, 1, TG_SHA256_LEN);
	memset(answer.assignments[0].blob, 0xab, TG_SHA256_LEN);
	answer.revoked_count = 1;
	memset(answer.revoked[0].manifest, 1, TG_SHA256_LEN);
	answer.trust_count = 4;
	for (size_t i = 0; i < 4; i++) {
		answer.trust[i].role = (enum tg_tgsp_role)i;
		answer.trust[i].version = versions[i];
		answer.trust[i].size = 9;
		memset(answer.trust[i].blob, 0xab, TG_SHA256_LEN);
	}
	CU_ASSERT_EQUAL_FATAL(tg_models_answer_encode(&answer, &text, &e), 0);
	CU_ASSERT_STRING_EQUAL((char *)text.data, expected);
	CU_ASSERT_EQUAL_FATAL(tg_models_answer_decode(text.data, text.len, &back, &e), 0);
	CU_ASSERT(!memcmp(&answer, &back, sizeof(back)));
	tg_bytes_free(&text);
}

#define REPORT(model, state, detail)                                                                         \
	"{\"reports\":[{\"model\":\"" model "\",\"release\":1,\"manifest\":\"" HEX_B "\",\"state\":\"" state \
	"\",\"since\":5" detail "}]}"

TEST(model_sync, requests_that_fit_no_device_are_refused)
{
	static struct tg_models_request request;
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ REPORT("../x", "ready", ""), "models.reports.model: not a name of a model" },
		{ REPORT("", "ready", ""), "reports.model: not a text of the right length" },
		{ REPORT("grasp", "Ready", ""), "reports.state: not one of the names for it" },
		{ REPORT("grasp", "", ""), "reports.state: not one of the names for it" },
		{ REPORT("grasp", "ready", ",\"detail\":\"a\\nb\""),
		  "reports.detail: a character that has no place in it" },
		{ REPORT("grasp", "ready", ",\"detail\":\"\\u00e9\""),
		  "reports.detail: a character that has no place in it" },
		{ REPORT("grasp", "ready", ",\"more\":1"), "reports.an unknown key" },
		{ "{\"root\":-1}", "root: not a number from 0" },
		{ "{\"root\":1.5}", "root: not a number from 0" },
		{ "{\"root\":9223372036854775808}", "not JSON: line 1, column 27" },
		{ "{\"tag\":\"ab\"}", "tag: not lower-case hexadecimal digits of the right number" },
		{ "{\"tag\":\"AB" HEX_B "\"}", "tag: not lower-case hexadecimal digits of the right number" },
		{ "{\"reports\":[]}", "reports: not a list of the right length" },
		{ "{\"reports\":[3]}", "reports.not an object" },
	};

	CU_ASSERT_EQUAL(decode_request(REPORT("grasp", "ready", ",\"detail\":\"a b\""), &request), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CU_ASSERT_EQUAL(decode_request(cases[i].text, &request), -EINVAL);
		CU_ASSERT_STRING_EQUAL(e.message, cases[i].message);
	}
}

TEST(model_sync, a_model_is_reported_once)
{
	static struct tg_models_request request, back;
	struct tg_bytes text;

	request.report_count = 2;
	snprintf(request.reports[0].model, sizeof(request.reports[0].model), "grasp");
	request.reports[1] = request.reports[0];
	CU_ASSERT_EQUAL_FATAL(tg_models_request_encode(&request, &text, &e), 0);
	CU_ASSERT_EQUAL(tg_models_request_decode(text.data, text.len, &back, &e), -EINVAL);
	CU_ASSERT_STRING_EQUAL(e.message, "models.reports.model: a model twice");
	tg_bytes_free(&text);
}

#define TRUST(role, version, size) \
	"{\"role\":\"" role "\",\"version\":" version ",\"blob\":\"" HEX_A "\",\"size\":" size "}"
#define ASSIGN(model)                                                                                        \
	"{\"model\":\"" model "\",\"release\":1,\"manifest\":\"" HEX_B "\",\"blob\":\"" HEX_A "\",\"size\":" \
	"1}"
#define THREE TRUST("targets", "1", "1") "," TRUST("snapshot", "1", "1") "," TRUST("timestamp", "1", "1")

TEST(model_sync, answers_whose_parts_do_not_fit_are_refused)
{
	static const char *const bad[] = {
		"{\"trust\":[" TRUST("root", "2", "1") "," TRUST("root", "4", "1") "]}",
		"{\"trust\":[" TRUST("root", "2", "1") "," TRUST("targets", "1", "1") "]}",
		"{\"trust\":[" THREE "," TRUST("root", "2", "1") "]}",
		"{\"trust\":[" TRUST("snapshot", "1", "1") "," TRUST("targets", "1", "1") "," TRUST(
			"timestamp", "1", "1") "]}",
		"{\"trust\":[" TRUST("package", "1", "1") "]}",
		"{\"trust\":[" TRUST("root", "0", "1") "]}",
		"{\"trust\":[" TRUST("root", "2", "1048577") "]}",
		"{\"trust\":[" TRUST("root", "2", "0") "]}",
		"{\"assignments\":[" ASSIGN("b") "," ASSIGN("a") "]}",
		"{\"assignments\":[" ASSIGN("a") "," ASSIGN("a") "]}",
		"{\"assignments\":[" ASSIGN("a/b") "]}",
	};

	CU_ASSERT_EQUAL(
		decode_answer("{\"trust\":[" TRUST("root", "2", "1048576") "," TRUST(
			"root", "3", "1") "," THREE "],\"assignments\":[" ASSIGN("a") "," ASSIGN("b") "]}"),
		0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(decode_answer(bad[i]), -EINVAL);
}
