/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>

#include "harness.h"
#include "swtpm.h"

enum { INDEX = 0x01800101 };

static struct tg_error e;

TEST(tpm_counter, only_goes_up)
{
	struct tg_tpm *tpm = swtpm_open();
	uint64_t first = 0, second = 0, third = 0;

	CU_ASSERT_EQUAL(tg_tpm_counter_read(tpm, INDEX, "secret", 6, &first, &e), -ENOENT);
	OK(tg_tpm_counter_define(tpm, INDEX, "secret", 6, &e));
	CU_ASSERT_EQUAL(tg_tpm_counter_define(tpm, INDEX, "secret", 6, &e), -EEXIST);
	OK(tg_tpm_counter_read(tpm, INDEX, "secret", 6, &first, &e));
	for (int i = 0; i < 5; i++)
		OK(tg_tpm_counter_increment(tpm, INDEX, "secret", 6, &e));
	OK(tg_tpm_counter_read(tpm, INDEX, "secret", 6, &second, &e));
	CU_ASSERT_EQUAL(second, first + 5);
	CU_ASSERT_EQUAL(tg_tpm_counter_increment(tpm, INDEX, "other", 5, &e), -EACCES);
	CU_ASSERT_EQUAL(tg_tpm_counter_read(tpm, INDEX, "", 0, &third, &e), -EACCES);
	CU_ASSERT_EQUAL(third, 0);
	/* taken away and made again, it does not begin anew */
	OK(tg_tpm_counter_remove(tpm, INDEX, &e));
	CU_ASSERT_EQUAL(tg_tpm_counter_remove(tpm, INDEX, &e), -ENOENT);
	OK(tg_tpm_counter_define(tpm, INDEX, NULL, 0, &e));
	OK(tg_tpm_counter_read(tpm, INDEX, NULL, 0, &third, &e));
	CU_ASSERT(third > second);
	OK(tg_tpm_counter_remove(tpm, INDEX, &e));
	tg_tpm_close(tpm);
	CU_ASSERT_EQUAL(swtpm_loaded(), 0);
}

/* Memory that somebody could write is not taken for a counter. */
TEST(tpm_counter, other_indices_are_refused)
{
	struct tg_tpm *tpm;
	uint64_t value;

	swtpm_tcti();
	CU_ASSERT(swtpm_shell("tpm2_nvdefine -C o -s 8 -a 'authread|authwrite' 0x01800102;"
			      "printf 12345678 | tpm2_nvwrite -C 0x01800102 -i- 0x01800102"));
	tpm = swtpm_open();
	CU_ASSERT_EQUAL(tg_tpm_counter_read(tpm, 0x01800102, "", 0, &value, &e), -EBADMSG);
	CU_ASSERT_EQUAL(tg_tpm_counter_increment(tpm, 0x01800102, "", 0, &e), -EBADMSG);
	CU_ASSERT_EQUAL(tg_tpm_counter_remove(tpm, 0x01800102, &e), -EBADMSG);
	CU_ASSERT_EQUAL(tg_tpm_counter_define(tpm, 0x01c00002, "", 0, &e), -EINVAL);
	tg_tpm_close(tpm);
	CU_ASSERT(swtpm_shell("tpm2_nvundefine -C o 0x01800102"));
}
