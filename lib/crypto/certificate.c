/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tensorguard/certificate.h"
#include "tensorguard/crypto.h"

static const char agent_scheme[] = "tg:agent:", operator_scheme[] = "tg:operator:";
enum { SERIAL_LEN = 16, URI_LEN = 2 * TG_ID_LEN + 16 };

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool tg_id_valid(const char *id)
{
	size_t len = strnlen(id, TG_ID_LEN);

	if (!len || len == TG_ID_LEN || !is_alnum(id[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_alnum(id[i]) && id[i] != '-' && id[i] != '_' && id[i] != '.')
			return false;
	return true;
}

static bool set_serial(X509 *certificate, struct tg_error *e)
{
	uint8_t serial[SERIAL_LEN];
	BIGNUM *number;
	bool done;

	if (tg_random(serial, sizeof(serial), e))
		return false;
	number = BN_bin2bn(serial, sizeof(serial), NULL);
	done = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
	BN_free(number);
	return done;
}

/* From the skew before `now`, but not before the CA, to `now + seconds`, but not beyond the CA. */
static bool set_times(X509 *certificate, const X509 *ca, int64_t now, int64_t seconds)
{
	time_t begin = (time_t)(now - TG_CLOCK_SKEW_SECONDS), end = (time_t)(now + seconds);

	if (!X509_time_adj_ex(X509_getm_notBefore(certificate), 0, 0, &begin) ||
	    !X509_time_adj_ex(X509_getm_notAfter(certificate), 0, 0, &end))
		return false;
	if (!ca)
		return true;
	if (X509_cmp_time(X509_get0_notBefore(ca), &begin) > 0 &&
	    X509_set1_notBefore(certificate, X509_get0_notBefore(ca)) != 1)
		return false;
	return X509_cmp_time(X509_get0_notAfter(ca), &end) > 0 ||
	       X509_set1_notAfter(certificate, X509_get0_notAfter(ca)) == 1;
}

static bool set_subject(X509 *certificate, const char *name)
{
	return X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName, MBSTRING_UTF8,
					  (const unsigned char *)name, -1, -1, 0) == 1;
}

static bool add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *extension;
	X509V3_CTX context;
	bool done;

	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	done = extension && X509_add_ext(certificate, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return done;
}

/* Without the extensions that say what the certificate is for. */
static X509 *certificate_begin(EVP_PKEY *key, X509 *ca, const char *name, int64_t now, int64_t seconds,
			       struct tg_error *e)
{
	X509 *certificate = X509_new();

	if (certificate && X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate, e) &&
	    set_times(certificate, ca, now, seconds) && set_subject(certificate, name) &&
	    X509_set_issuer_name(certificate, X509_get_subject_name(ca ? ca : certificate)) == 1 &&
	    X509_set_pubkey(certificate, key) == 1 &&
	    add_extension(certificate, ca ? ca : certificate, NID_subject_key_identifier, "hash"))
		return certificate;
	X509_free(certificate);
	return NULL;
}

/* Signs the certificate, or frees it. */
static int certificate_end(X509 *certificate, bool complete, EVP_PKEY *ca_key, X509 **ret_certificate,
			   struct tg_error *e)
{
	if (!certificate || !complete || X509_sign(certificate, ca_key, EVP_sha256()) <= 0) {
		X509_free(certificate);
		return tg_openssl_error(e, -EIO, "no certificate could be made");
	}
	*ret_certificate = certificate;
	return 0;
}

int tg_ca_make(EVP_PKEY *key, const char *name, int64_t now, int64_t seconds, X509 **ret_certificate,
	       struct tg_error *e)
{
	X509 *ca = certificate_begin(key, NULL, name, now, seconds, e);
	bool complete = ca && add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
			add_extension(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign");

	return certificate_end(ca, complete, key, ret_certificate, e);
}

static bool add_leaf_extensions(X509 *certificate, X509 *ca, const char *purpose)
{
	return add_extension(certificate, ca, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(certificate, ca, NID_key_usage, "critical,digitalSignature") &&
	       add_extension(certificate, ca, NID_ext_key_usage, purpose) &&
	       add_extension(certificate, ca, NID_authority_key_identifier, "keyid:always");
}

/* One general name; takes over `value`. */
static bool push_name(GENERAL_NAMES *names, int type, ASN1_STRING *value)
{
	GENERAL_NAME *name = GENERAL_NAME_new();

	if (!name || !value) {
		GENERAL_NAME_free(name);
		ASN1_STRING_free(value);
		return false;
	}
	GENERAL_NAME_set0_value(name, type, value);
	if (sk_GENERAL_NAME_push(names, name) > 0)
		return true;
	GENERAL_NAME_free(name);
	return false;
}

static bool push_text(GENERAL_NAMES *names, int type, const char *text)
{
	ASN1_STRING *value = ASN1_IA5STRING_new();

	if (value && ASN1_STRING_set(value, text, -1) != 1) {
		ASN1_STRING_free(value);
		value = NULL;
	}
	return push_name(names, type, value);
}

static bool is_host(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.*");

	return len && len <= 253 && !text[len];
}

static bool push_server_name(GENERAL_NAMES *names, const char *text)
{
	ASN1_OCTET_STRING *address = a2i_IPADDRESS(text);

	if (!address && !is_host(text))
		return false;
	return address ? push_name(names, GEN_IPADD, address) : push_text(names, GEN_DNS, text);
}

static bool client_uri(const struct tg_client *client, char ret_uri[static URI_LEN])
{
	if (!tg_id_valid(client->id))
		return false;
	if (client->kind == TG_CLIENT_OPERATOR) {
		snprintf(ret_uri, URI_LEN, "%s%s", operator_scheme, client->id);
		return !client->fleet[0];
	}
	snprintf(ret_uri, URI_LEN, "%s%s:%s", agent_scheme, client->fleet, client->id);
	return client->kind == TG_CLIENT_AGENT && tg_id_valid(client->fleet);
}

int tg_client_certificate(EVP_PKEY *ca_key, X509 *ca, EVP_PKEY *key, const struct tg_client *client,
			  int64_t now, int64_t seconds, X509 **ret_certificate, struct tg_error *e)
{
	GENERAL_NAMES *names;
	X509 *certificate;
	char uri[URI_LEN];
	bool complete;

	if (!client_uri(client, uri))
		return tg_error(e, -EINVAL, "not a name for a certificate");
	if (seconds <= 0 || (client->kind == TG_CLIENT_AGENT && seconds > TG_AGENT_SECONDS_MAX))
		return tg_error(e, -EINVAL, "a lifetime of %lld seconds", (long long)seconds);
	names = GENERAL_NAMES_new();
	certificate = certificate_begin(key, ca, client->id, now, seconds, e);
	complete = names && certificate && push_text(names, GEN_URI, uri) &&
		   X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0) == 1 &&
		   add_leaf_extensions(certificate, ca, "clientAuth");
	GENERAL_NAMES_free(names);
	return certificate_end(certificate, complete, ca_key, ret_certificate, e);
}

int tg_server_certificate(EVP_PKEY *ca_key, X509 *ca, EVP_PKEY *key, const char *const *names, size_t count,
			  int64_t now, int64_t seconds, X509 **ret_certificate, struct tg_error *e)
{
	GENERAL_NAMES *all;
	X509 *certificate;
	bool complete;

	if (!count || seconds <= 0)
		return tg_error(e, -EINVAL, "a server needs a name and a lifetime");
	all = GENERAL_NAMES_new();
	certificate = certificate_begin(key, ca, names[0], now, seconds, e);
	complete = all && certificate;
	for (size_t i = 0; complete && i < count; i++)
		complete = push_server_name(all, names[i]);
	complete = complete && X509_add1_ext_i2d(certificate, NID_subject_alt_name, all, 0, 0) == 1 &&
		   add_leaf_extensions(certificate, ca, "serverAuth");
	GENERAL_NAMES_free(all);
	return certificate_end(certificate, complete, ca_key, ret_certificate, e);
}

/* The part before `end`, which has to be a good id. */
static bool take_id(const char *text, const char *end, char ret_id[static TG_ID_LEN])
{
	size_t len = (size_t)(end - text);

	if (len >= TG_ID_LEN)
		return false;
	memcpy(ret_id, text, len);
	ret_id[len] = '\0';
	return tg_id_valid(ret_id);
}

static bool parse_uri(const char *uri, struct tg_client *ret_client)
{
	const char *rest, *end = uri + strlen(uri), *colon;

	if (!strncmp(uri, operator_scheme, strlen(operator_scheme))) {
		*ret_client = (struct tg_client){ .kind = TG_CLIENT_OPERATOR };
		return take_id(uri + strlen(operator_scheme), end, ret_client->id);
	}
	if (strncmp(uri, agent_scheme, strlen(agent_scheme)) != 0)
		return false;
	rest = uri + strlen(agent_scheme);
	colon = strchr(rest, ':');
	*ret_client = (struct tg_client){ .kind = TG_CLIENT_AGENT };
	return colon && take_id(rest, colon, ret_client->fleet) && take_id(colon + 1, end, ret_client->id);
}

/* The one name as text without a NUL inside. */
static const char *only_uri(const GENERAL_NAMES *names)
{
	const GENERAL_NAME *name = sk_GENERAL_NAME_num(names) == 1 ? sk_GENERAL_NAME_value(names, 0) : NULL;
	const ASN1_STRING *text = name && name->type == GEN_URI ? name->d.uniformResourceIdentifier : NULL;
	const char *uri = text ? (const char *)ASN1_STRING_get0_data(text) : NULL;

	return uri && strlen(uri) == (size_t)ASN1_STRING_length(text) ? uri : NULL;
}

int tg_certificate_client(const X509 *certificate, struct tg_client *ret_client, struct tg_error *e)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	const char *uri = only_uri(names);
	struct tg_client client;
	bool found = uri && parse_uri(uri, &client);

	GENERAL_NAMES_free(names);
	if (!found)
		return tg_openssl_error(e, -EINVAL,
					"a certificate that names neither a device nor an operator");
	*ret_client = client;
	return 0;
}

int tg_certificate_serial(const X509 *certificate, char ret_text[static TG_SERIAL_TEXT_LEN],
			  struct tg_error *e)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
	int len = ASN1_STRING_length(serial);
	const unsigned char *data = ASN1_STRING_get0_data(serial);

	if (2 * len + 1 > TG_SERIAL_TEXT_LEN)
		return tg_error(e, -EINVAL, "a serial number of %d bytes", len);
	ret_text[0] = '\0';
	for (int i = 0; i < len; i++)
		snprintf(ret_text + 2 * i, 3, "%02x", data[i]);
	return 0;
}

int tg_certificate_end(const X509 *certificate, int64_t *ret_end, struct tg_error *e)
{
	struct tm end;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1)
		return tg_openssl_error(e, -EINVAL, "a certificate whose end cannot be read");
	*ret_end = (int64_t)timegm(&end);
	return 0;
}

int tg_certificate_pem(X509 *certificate, struct tg_bytes *ret_text, struct tg_error *e)
{
	BIO *memory = BIO_new(BIO_s_mem());
	struct tg_bytes text = { 0 };
	char *data = NULL;
	long len = 0;
	int ret;

	if (!memory || PEM_write_bio_X509(memory, certificate) != 1) {
		ret = tg_openssl_error(e, -EIO, "the certificate cannot be written as PEM");
	} else {
		len = BIO_get_mem_data(memory, &data);
		text.data = calloc(1, (size_t)len + 1);
		ret = text.data ? 0 : -ENOMEM;
	}
	if (!ret) {
		memcpy(text.data, data, (size_t)len);
		text.len = (size_t)len;
		*ret_text = text;
	}
	BIO_free(memory);
	return ret;
}
