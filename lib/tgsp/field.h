/* SPDX-License-Identifier: BSD-3-Clause */
/* What the values of a manifest may be. All return whether the text is one. */
#ifndef TGSP_FIELD_H
#define TGSP_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool tgsp_name_valid(const char *text, size_t len);
/* MAJOR.MINOR.PATCH[-PRERELEASE][+BUILD] of semver.org. */
bool tgsp_semver_valid(const char *text, size_t len);
/* MAJOR.MINOR.PATCH alone. */
bool tgsp_plain_version(const char *text, size_t len, uint32_t ret_numbers[static 3]);
/* Printable: no control characters. */
bool tgsp_text_valid(const char *text, size_t len);

#endif
