/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libcurl, loaded by who makes requests and by nobody else: with the libraries that it needs in turn it
 * costs each process 0.7 MiB, and the agent is several processes of which one makes requests. The functions
 * are those of <curl/curl.h>, to be called only after libcurl_load().
 */
#ifndef AGENT_TRUST_LIBCURL_H
#define AGENT_TRUST_LIBCURL_H

#include <curl/curl.h>

#include "tensorguard/error.h"

/* Once is enough, from any thread; it stays. -ENOENT: it is not installed, or another version of it. */
int libcurl_load(struct tg_error *e);
/* curl_url_get(), whose first argument is not of the same type in all versions. */
CURLUcode libcurl_url_get(CURLU *url, CURLUPart what, char **ret_part, unsigned int flags);

#endif
