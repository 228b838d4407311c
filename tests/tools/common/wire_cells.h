/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Real cells and dummies as the wire shows them. What is which comes from a
 * recording of the sender's tunnel device, where both are in clear: WireGuard
 * numbers packets in the order in which it gets them, so the n-th there has the
 * n-th counter on the wire. Pure; the CSV files (WIRE_CSV_HEADERS) aside.
 */
#ifndef TESTS_TOOLS_WIRE_CELLS_H
#define TESTS_TOOLS_WIRE_CELLS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensorguard/error.h"

/* Header fields; up to CELL_COMPARED they must be one function for both kinds. */
enum cell_field {
	CELL_FAMILY,
	CELL_IP_BYTES,
	CELL_HEADER_BYTES,
	CELL_DSCP,
	CELL_ECN,
	CELL_TTL,
	CELL_DF,
	CELL_MF,
	CELL_FLOW_LABEL,
	CELL_PROTOCOL,
	CELL_SPORT,
	CELL_DPORT,
	CELL_UDP_BYTES,
	CELL_CHECKSUM_PRESENT,
	CELL_TYPE,
	CELL_COMPARED,
	CELL_RECEIVER = CELL_COMPARED, /* changes with every key */
	CELL_FIELDS
};

struct wire_cell {
	int64_t time_ns;
	uint64_t counter;
	uint32_t key;		/* which of the session keys; set by wire_cells_label() */
	uint32_t id;
	int64_t field[CELL_FIELDS];
	bool real;
};

struct wire_cells {
	struct wire_cell *cells;
	size_t count, room;
};

int wire_cells_append(struct wire_cells *list, const struct wire_cell *cell, struct tg_error *e);
void wire_cells_free(struct wire_cells *list);

/*
 * Takes the data packets of `direction` (1 or -1) from a recording of the link,
 * or all packets of it from one of a tunnel device (`inside`), where IPv6 with
 * next header 59 is a dummy.
 */
int wire_cells_load(struct wire_cells *list, const char *path, int direction, bool inside,
		    struct tg_error *e);

/* Tells the link's cells which of them are real. Fails when the recordings do not have as many packets. */
int wire_cells_label(struct wire_cells *link, const struct wire_cells *inside, struct tg_error *e);

/*
 * As JSON: `real`, `dummy` (counts), `reordered` (cells behind one with a higher
 * counter), `differing` (fields whose values are not the same for both kinds),
 * `values` (of each field), and of the IP ID's step to a cell (`id_step`), the
 * time from the cell before it (`gap_us`) and to the one behind (`gap_after_us`),
 * the latter less the former (`bend_us`) and the distance from the grid (`phase_us`)
 * each `distance`, `p` (Kolmogorov-Smirnov, real against dummies), `accuracy` (of
 * the best threshold, 0.5 is chance) and `sigmas` (that, above chance, in standard
 * deviations), from the first real cell to the last: before and behind them the
 * machine has less to do, which is another matter.
 */
int wire_cells_compare(const struct wire_cells *link, int64_t period_ns, json_t **ret_result,
		       struct tg_error *e);

#endif
