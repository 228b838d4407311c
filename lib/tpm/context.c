/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_sys.h>
#include <tss2/tss2_tctildr.h>

#include "parts.h"
#include "rc.h"
#include "tcti.h"

/* The first handles of their kinds. The header's own names for them overflow an int. */
#define OBJECTS ((TPM2_HANDLE)TPM2_HT_TRANSIENT << TPM2_HR_SHIFT)
#define SESSIONS ((TPM2_HANDLE)TPM2_HT_LOADED_SESSION << TPM2_HR_SHIFT)

struct tg_tpm {
	pthread_mutex_t lock;
	atomic_uint holders;
	char *name;			/* TCTI string, NULL if the TCTI is the caller's */
	TSS2_TCTI_CONTEXT *tcti;
	struct checked_tcti checked;	/* in front of it */
	ESYS_CONTEXT *esys;
	bool broken; /* the ESYS context is of no use, or something of ours is left in the TPM */
	TPML_HANDLE foreign_objects;	/* what was in the TPM when we came: not ours to flush */
	TPML_HANDLE foreign_sessions;
};

/*
 * tpm2-tss writes to stderr unless it is told not to, and reads this when it
 * first logs. Before main there is no other thread that could read the environment.
 */
__attribute__((constructor)) static void silence_tss(void)
{
	setenv("TSS2_LOG", "all+none", 0);
}

static int list_handles(struct tg_tpm *tpm, TPM2_HANDLE first, TPML_HANDLE *ret_list, struct tg_error *e)
{
	TPMS_CAPABILITY_DATA *data = NULL;
	struct operation op = { .tpm = tpm, .esys = tpm->esys, .e = e };
	TPMI_YES_NO more;
	int r = OP_RUN(&op, "list what is loaded",
		       Esys_GetCapability(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
					  TPM2_CAP_HANDLES, first, TPM2_MAX_CAP_HANDLES, &more, &data));

	if (!r)
		*ret_list = data->data.handles;
	Esys_Free(data);
	return r;
}

static bool listed(const TPML_HANDLE *list, TPM2_HANDLE handle)
{
	for (UINT32 i = 0; i < list->count; i++)
		if (list->handle[i] == handle)
			return true;
	return false;
}

/* Flushes what is loaded and was not there when we came: objects whose answer was lost on its way to us. */
static int sweep(struct tg_tpm *tpm, TPM2_HANDLE first, const TPML_HANDLE *foreign, struct tg_error *e)
{
	struct operation op = { .tpm = tpm, .esys = tpm->esys, .e = e };
	TSS2_SYS_CONTEXT *sys;
	TPML_HANDLE loaded;
	int r = list_handles(tpm, first, &loaded, e);

	if (r)
		return r;
	r = op_result(&op, Esys_GetSysContext(tpm->esys, &sys), "flush what is loaded");
	for (UINT32 i = 0; !r && i < loaded.count; i++) {
		if (!listed(foreign, loaded.handle[i]))
			r = OP_RUN(&op, "flush what is loaded", Tss2_Sys_FlushContext(sys, loaded.handle[i]));
		if (r == -ENOENT)
			r = 0;
	}
	return r;
}

static void disconnect(struct tg_tpm *tpm)
{
	Esys_Finalize(&tpm->esys);
	if (tpm->name)
		Tss2_TctiLdr_Finalize(&tpm->tcti);
}

static int connect_tpm(struct tg_tpm *tpm, struct tg_error *e)
{
	TSS2_RC rc = TSS2_RC_SUCCESS;

	if (tpm->name)
		rc = Tss2_TctiLdr_Initialize(*tpm->name ? tpm->name : NULL, &tpm->tcti);
	if (rc)
		return tg_error(e, -ENODEV, "TPM '%s': cannot be opened: %s", tpm->name, Tss2_RC_Decode(rc));
	rc = Esys_Initialize(&tpm->esys, checked_tcti(&tpm->checked, tpm->tcti), NULL);
	if (rc)
		return tg_rc_error(e, rc, "begin to use it");
	return 0;
}

/* An ESYS context that saw anything but the TPM's own errors refuses all further work. */
static int mend(struct tg_tpm *tpm, struct tg_error *e)
{
	int r;

	disconnect(tpm);
	r = connect_tpm(tpm, e);
	if (!r)
		r = sweep(tpm, OBJECTS, &tpm->foreign_objects, e);
	if (!r)
		r = sweep(tpm, SESSIONS, &tpm->foreign_sessions, e);
	tpm->broken = r != 0;
	return r;
}

static int open_common(struct tg_tpm *tpm, struct tg_tpm **ret_tpm, struct tg_error *e)
{
	int r = connect_tpm(tpm, e);

	if (!r)
		r = list_handles(tpm, OBJECTS, &tpm->foreign_objects, e);
	if (!r)
		r = list_handles(tpm, SESSIONS, &tpm->foreign_sessions, e);
	tpm->broken = false;
	if (r)
		tg_tpm_close(tpm);
	else
		*ret_tpm = tpm;
	return r;
}

static struct tg_tpm *new_tpm(void)
{
	struct tg_tpm *tpm = calloc(1, sizeof(*tpm));

	if (!tpm)
		return NULL;
	pthread_mutex_init(&tpm->lock, NULL);
	tpm->holders = 1;
	return tpm;
}

int tg_tpm_open(const char *tcti, struct tg_tpm **ret_tpm, struct tg_error *e)
{
	struct tg_tpm *tpm = new_tpm();

	if (tpm)
		tpm->name = strdup(tcti ? tcti : "");
	if (!tpm || !tpm->name) {
		tg_tpm_close(tpm);
		return tg_error(e, -ENOMEM, "out of memory");
	}
	return open_common(tpm, ret_tpm, e);
}

int tg_tpm_open_tcti(struct TSS2_TCTI_OPAQUE_CONTEXT_BLOB *tcti, struct tg_tpm **ret_tpm, struct tg_error *e)
{
	struct tg_tpm *tpm = new_tpm();

	if (!tpm)
		return tg_error(e, -ENOMEM, "out of memory");
	tpm->tcti = tcti;
	return open_common(tpm, ret_tpm, e);
}

struct tg_tpm *tg_tpm_ref(struct tg_tpm *tpm)
{
	atomic_fetch_add(&tpm->holders, 1);
	return tpm;
}

void tg_tpm_close(struct tg_tpm *tpm)
{
	if (!tpm || atomic_fetch_sub(&tpm->holders, 1) != 1)
		return;
	if (tpm->broken)
		mend(tpm, NULL);
	disconnect(tpm);
	pthread_mutex_destroy(&tpm->lock);
	free(tpm->name);
	free(tpm);
}

int op_begin(struct operation *op, struct tg_tpm *tpm, struct tg_error *e)
{
	int r = 0;

	pthread_mutex_lock(&tpm->lock);
	if (tpm->broken)
		r = mend(tpm, e);
	if (r)
		pthread_mutex_unlock(&tpm->lock);
	else
		*op = (struct operation){ .tpm = tpm, .esys = tpm->esys, .e = e, .session = ESYS_TR_NONE };
	return r;
}

static void release(struct operation *op, unsigned at)
{
	ESYS_TR handle = op->held[at].handle;
	TSS2_RC rc = op->held[at].resident ? Esys_TR_Close(op->esys, &handle)
					   : Esys_FlushContext(op->esys, handle);

	if (rc)
		op->tpm->broken = true;
	op->held[at] = op->held[--op->held_count];
}

void op_end(struct operation *op)
{
	while (op->held_count)
		release(op, op->held_count - 1);
	if (op->tpm->broken)
		mend(op->tpm, NULL);
	pthread_mutex_unlock(&op->tpm->lock);
}

void op_keep(struct operation *op, ESYS_TR handle, bool resident)
{
	if (op->held_count == OP_HANDLES)
		abort();
	op->held[op->held_count].handle = handle;
	op->held[op->held_count++].resident = resident;
}

void op_drop(struct operation *op, ESYS_TR handle)
{
	for (unsigned i = 0; i < op->held_count; i++)
		if (op->held[i].handle == handle) {
			release(op, i);
			return;
		}
}

void op_forget(struct operation *op, ESYS_TR handle)
{
	for (unsigned i = 0; i < op->held_count; i++)
		if (op->held[i].handle == handle) {
			op->held[i] = op->held[--op->held_count];
			return;
		}
}

int op_result(struct operation *op, TSS2_RC rc, const char *doing)
{
	if (!rc)
		return 0;
	if (!tg_rc_is_tpm(rc))
		op->tpm->broken = true;
	return tg_rc_error(op->e, rc, doing);
}
