/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Agents whose certificate ended while they could not reach us, or has not begun: it was issued while our
 * clock was ahead. TLS lets such a certificate in, by itself it opens nothing: only a renewal may be begun
 * with it, which proves the same TPM with fresh evidence, or, without a TPM, that the key of the last
 * certificate is there; and, of one that has ended, only for as long as the fleet says.
 */
#include <errno.h>
#include <time.h>

#include "http/parts.h"
#include "tensorguard/attest.h"

static bool is_agent(X509 *cert)
{
	struct tg_client client;

	return cert && !tg_certificate_client(cert, &client, NULL) && client.kind == TG_CLIENT_AGENT;
}

/* All else about the certificate, its signature first, is checked as ever. */
int grace_verify(int good, X509_STORE_CTX *ctx)
{
	int error = X509_STORE_CTX_get_error(ctx);

	if (good || X509_STORE_CTX_get_error_depth(ctx) != 0 ||
	    (error != X509_V_ERR_CERT_HAS_EXPIRED && error != X509_V_ERR_CERT_NOT_YET_VALID) ||
	    !is_agent(X509_STORE_CTX_get_current_cert(ctx)))
		return good;
	X509_STORE_CTX_set_error(ctx, X509_V_OK);
	return 1;
}

/* A key that is not in a TPM may have been copied: an older certificate of it proves nothing. */
static const char *judge(const struct store_agent *agent, const struct store_fleet *fleet, int64_t end,
			 int64_t now)
{
	bool software = agent->level == TG_ASSURANCE_SOFTWARE;
	int64_t grace = software ? fleet->grace_software : fleet->grace;

	if (!grace && end <= now)
		return "certificate-expired";
	if (software && end != agent->not_after)
		return "certificate-superseded";
	return now - end <= grace ? NULL : "grace-ended";
}

int grace_reason(struct request *request, const char **ret_reason)
{
	struct store_fleet fleet;
	int64_t end;
	int ret = tg_certificate_end(SSL_get0_peer_certificate(request->tls), &end, NULL);

	if (!ret)
		ret = store_fleet_get(request->store, request->agent.fleet, &fleet, NULL);
	if (!ret)
		*ret_reason = judge(&request->agent, &fleet, end, time(NULL));
	return ret;
}
