/* SPDX-License-Identifier: BSD-3-Clause */
/* RFC 6962's tree: the roots that Certificate Transparency's reference tests publish, and the RFC's
 * recursion. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "tensorguard/merkle.h"
#include "vectors.h"

static const char *const leaves[] = {
	"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
};
static const char *const roots[] = {
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
	"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
	"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
	"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
	"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
	"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
	"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
	"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};

TEST(merkle, published_roots)
{
	struct tg_merkle tree = { 0 };

	for (size_t n = 0;; n++) {
		struct hex root = hex_bytes(roots[n]), data;
		uint8_t got[TG_SHA256_LEN], leaf[TG_SHA256_LEN];

		CU_ASSERT(!tg_merkle_root(&tree, got, NULL) && !memcmp(got, root.data, sizeof(got)));
		free(root.data);
		if (n == sizeof(leaves) / sizeof(leaves[0]))
			break;
		data = hex_bytes(leaves[n]);
		CU_ASSERT(!tg_merkle_leaf(data.data, data.len, leaf, NULL));
		CU_ASSERT(!tg_merkle_add(&tree, leaf, NULL));
		free(data.data);
	}
}

/* MTH of RFC 6962, section 2.1, over ready leaves. */
static void recursive(const uint8_t (*leaf)[TG_SHA256_LEN], size_t n, uint8_t *out)
{
	uint8_t pair[1 + 2 * TG_SHA256_LEN] = { 1 };
	size_t k = 1;

	if (n == 1) {
		memcpy(out, leaf[0], TG_SHA256_LEN);
		return;
	}
	while (2 * k < n)
		k *= 2;
	recursive(leaf, k, pair + 1);
	recursive(leaf + k, n - k, pair + 1 + TG_SHA256_LEN);
	CU_ASSERT(!tg_sha256(&(struct tg_piece){ pair, sizeof(pair) }, 1, out, NULL));
}

TEST(merkle, recursion)
{
	static uint8_t leaf[300][TG_SHA256_LEN];
	struct tg_merkle tree = { 0 };

	for (size_t n = 1; n <= 300; n++) {
		uint8_t got[TG_SHA256_LEN], want[TG_SHA256_LEN];

		CU_ASSERT(!tg_merkle_leaf(&n, sizeof(n), leaf[n - 1], NULL));
		CU_ASSERT(!tg_merkle_add(&tree, leaf[n - 1], NULL));
		recursive(leaf, n, want);
		CU_ASSERT(!tg_merkle_root(&tree, got, NULL) && !memcmp(got, want, sizeof(got)));
	}
}
