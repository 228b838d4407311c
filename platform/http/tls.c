/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "http/parts.h"
#include "tensorguard/crypto.h"

static int set_certificate(SSL_CTX *tls, X509 *cert, STACK_OF(X509) * chain, EVP_PKEY *key)
{
	return SSL_CTX_use_certificate(tls, cert) == 1 && SSL_CTX_use_PrivateKey(tls, key) == 1 &&
			       SSL_CTX_set1_chain(tls, chain) == 1
		       ? 0
		       : -EINVAL;
}

static int set_client_ca(SSL_CTX *tls, X509 *ca)
{
	if (X509_STORE_add_cert(SSL_CTX_get_cert_store(tls), ca) != 1 || SSL_CTX_add_client_CA(tls, ca) != 1)
		return -EINVAL;
	SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, grace_verify);
	SSL_CTX_set_verify_depth(tls, 1);
	return 0;
}

/*
 * No tickets: a resumed connection would carry a certificate past its end, and a fleet of agents that keep
 * their connections gains nothing.
 */
static int set_protocol(SSL_CTX *tls)
{
	if (SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_max_proto_version(tls, TLS1_3_VERSION) != 1 || SSL_CTX_set_num_tickets(tls, 0) != 1 ||
	    SSL_CTX_set1_groups_list(tls, "X25519:P-256") != 1)
		return -EINVAL;
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(tls, SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_COMPRESSION);
	/* an idle connection keeps no buffers */
	SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
	return 0;
}

int server_tls_new(X509 *cert, STACK_OF(X509) * chain, EVP_PKEY *key, X509 *client_ca, SSL_CTX **ret_tls,
		   struct tg_error *e)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

	if (!tls || set_protocol(tls) || set_certificate(tls, cert, chain, key) ||
	    set_client_ca(tls, client_ca)) {
		SSL_CTX_free(tls);
		return tg_openssl_error(e, -EINVAL, "TLS");
	}
	*ret_tls = tls;
	return 0;
}

const char *plain_address(const char *address)
{
	static const char mapped[] = "::ffff:";

	return !strncmp(address, mapped, strlen(mapped)) && strchr(address, '.') ? address + strlen(mapped)
										 : address;
}

/* The bytes of an address that a limit is for: IPv4 all, IPv6 the network of 64 bits. Returns their number.
 */
static size_t address_key(const char *address, uint8_t ret_key[static 16])
{
	char text[SERVER_ADDRESS_SIZE];

	snprintf(text, sizeof(text), "%s", plain_address(address));
	/* the interface of a link-local one */
	text[strcspn(text, "%")] = '\0';
	if (inet_pton(AF_INET, text, ret_key) == 1)
		return 4;
	return inet_pton(AF_INET6, text, ret_key) == 1 ? 8 : 0;
}

bool address_allowed(const struct server_config *config, const char *address, int64_t now_ms)
{
	enum { IPV6_SITE = 6 }; /* bytes: what one customer of a provider may have, 65,536 networks */
	uint8_t key[16];
	size_t len = address_key(address, key);

	return limiter_take(config->by_address, key, len, now_ms) &&
	       (len <= IPV6_SITE || limiter_take(config->by_site, key, IPV6_SITE, now_ms));
}
