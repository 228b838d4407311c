/* SPDX-License-Identifier: BSD-3-Clause */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "trust/libcurl.h"

#define FILE_NAME "libcurl.so.4"

/* Those that are used here. */
#define FUNCTIONS(X)           \
	X(curl_easy_init)      \
	X(curl_easy_cleanup)   \
	X(curl_easy_setopt)    \
	X(curl_easy_getinfo)   \
	X(curl_easy_perform)   \
	X(curl_easy_strerror)  \
	X(curl_free)           \
	X(curl_slist_append)   \
	X(curl_slist_free_all) \
	X(curl_url)            \
	X(curl_url_cleanup)    \
	X(curl_url_get)        \
	X(curl_url_set)

/* The header checks their arguments by macros of the same names. */
#undef curl_easy_setopt
#undef curl_easy_getinfo

static struct {
#define X(name) __typeof__(name) *name;
	FUNCTIONS(X)
#undef X
	char why[256]; /* it could not be loaded, or "" */
} lib;

/*
 * What the loader has read of a library, symbols of things that nobody calls above all, need not stay mapped:
 * what is used is mapped again. Only what is never written to is let go.
 */
static int let_go(struct dl_phdr_info *info, size_t size, void *ctx)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)ctx;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uintptr_t begin = (info->dlpi_addr + part->p_vaddr) & ~(page - 1);
		uintptr_t end = info->dlpi_addr + part->p_vaddr + part->p_filesz;

		if (part->p_type == PT_LOAD && !(part->p_flags & PF_W))
			(void)!madvise((void *)begin, end - begin, MADV_DONTNEED);
	}
	return 0;
}

static void load(void)
{
	void *handle = dlopen(FILE_NAME, RTLD_NOW | RTLD_LOCAL);

#define X(name)                                                     \
	*(void **)&lib.name = handle ? dlsym(handle, #name) : NULL; \
	if (!lib.name && !lib.why[0])                               \
		snprintf(lib.why, sizeof(lib.why), "%s", dlerror());
	FUNCTIONS(X)
#undef X
	dl_iterate_phdr(let_go, NULL);
}

int libcurl_load(struct tg_error *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load);
	return lib.why[0] ? tg_error(e, -ENOENT, "%s cannot be loaded: %s", FILE_NAME, lib.why) : 0;
}

CURL *curl_easy_init(void)
{
	return lib.curl_easy_init();
}

void curl_easy_cleanup(CURL *curl)
{
	lib.curl_easy_cleanup(curl);
}

/* The option's number says of which type its value is. */
CURLcode curl_easy_setopt(CURL *curl, CURLoption option, ...)
{
	CURLcode code;
	va_list args;

	va_start(args, option);
	switch ((int)option / 10000 * 10000) {
	case CURLOPTTYPE_LONG:
		code = lib.curl_easy_setopt(curl, option, va_arg(args, long));
		break;
	case CURLOPTTYPE_OFF_T:
		code = lib.curl_easy_setopt(curl, option, va_arg(args, curl_off_t));
		break;
	case CURLOPTTYPE_FUNCTIONPOINT:
		code = lib.curl_easy_setopt(curl, option, va_arg(args, void (*)(void)));
		break;
	default:
		code = lib.curl_easy_setopt(curl, option, va_arg(args, void *));
		break;
	}
	va_end(args);
	return code;
}

CURLcode curl_easy_getinfo(CURL *curl, CURLINFO info, ...)
{
	CURLcode code;
	va_list args;

	va_start(args, info);
	code = lib.curl_easy_getinfo(curl, info, va_arg(args, void *));
	va_end(args);
	return code;
}

CURLcode curl_easy_perform(CURL *curl)
{
	return lib.curl_easy_perform(curl);
}

const char *curl_easy_strerror(CURLcode code)
{
	return lib.curl_easy_strerror(code);
}

void curl_free(void *p)
{
	if (p)
		lib.curl_free(p);
}

struct curl_slist *curl_slist_append(struct curl_slist *list, const char *line)
{
	return lib.curl_slist_append(list, line);
}

void curl_slist_free_all(struct curl_slist *list)
{
	if (list)
		lib.curl_slist_free_all(list);
}

CURLU *curl_url(void)
{
	return lib.curl_url();
}

void curl_url_cleanup(CURLU *url)
{
	if (url)
		lib.curl_url_cleanup(url);
}

CURLUcode libcurl_url_get(CURLU *url, CURLUPart what, char **ret_part, unsigned int flags)
{
	return lib.curl_url_get(url, what, ret_part, flags);
}

CURLUcode curl_url_set(CURLU *url, CURLUPart what, const char *part, unsigned int flags)
{
	return lib.curl_url_set(url, what, part, flags);
}
