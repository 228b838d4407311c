/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables of the part `models` (model_sync.h), for the table of the whole sync message. */
#ifndef LIB_WIRE_MODELS_H
#define LIB_WIRE_MODELS_H

#include "wire/object.h"

/* Of struct tg_models_request and struct tg_models_answer; both parts are optional in their message. */
extern const struct wire_field wire_models_request[], wire_models_answer[];

#endif
