/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets in shared cells: what one end writes and the other reads, with losses, cuts and flips in between.
 */
#include <errno.h>
#include <string.h>

#include "harness.h"
#include "tensorguard/aggfrag.h"

enum { CELL = 168, ROOM = 1500, MOST = 4096 };

/* xorshift: the same packets in each run */
static uint32_t state = 2463534242u;

static uint32_t draw(void)
{
	state ^= state << 13;
	state ^= state >> 17;
	return state ^= state << 5;
}

/* A packet of `len` bytes whose content tells its number. */
static size_t make_packet(uint8_t *packet, unsigned number, size_t len)
{
	bool v6 = number % 2 && len >= 40;

	for (size_t i = 0; i < len; i++)
		packet[i] = (uint8_t)(number * 31 + i);
	packet[0] = v6 ? 0x60 : 0x45;
	if (v6) {
		packet[4] = (uint8_t)((len - 40) >> 8);
		packet[5] = (uint8_t)(len - 40);
	} else {
		packet[2] = (uint8_t)(len >> 8);
		packet[3] = (uint8_t)len;
	}
	memcpy(packet + 12, &number, sizeof(number));
	return len;
}

/* What was sent and what has arrived. */
struct line {
	size_t sizes[MOST];
	unsigned sent, arrived, wrong;
	bool seen[MOST];
	uint8_t packet[ROOM];	/* being written */
	size_t size, put;
	uint32_t sequence;
	uint8_t buffer[ROOM];
	struct tg_aggfrag_reader reader;
};

static struct line line;

static void begin(void)
{
	memset(&line, 0, sizeof(line));
	line.reader.buffer = line.buffer;
	line.reader.room = ROOM;
	line.sequence = TG_AGGFRAG_SEQUENCE_MASK - 3; /* it wraps */
}

static void take(void *ctx, const uint8_t *packet, size_t len)
{
	uint8_t wanted[ROOM];
	unsigned number;

	(void)ctx;
	memcpy(&number, packet + 12, sizeof(number));
	line.arrived++;
	if (len < 20 || number >= line.sent || line.seen[number] || len != line.sizes[number] ||
	    make_packet(wanted, number, len) != len || memcmp(wanted, packet, len))
		line.wrong++;
	else
		line.seen[number] = true;
}

/* Fills one cell with packets of up to `most` bytes; the last of `count` is not followed by another. */
static uint32_t fill(uint8_t *cell, unsigned count, size_t most)
{
	struct tg_aggfrag_writer w;

	tg_aggfrag_begin(&w, cell, CELL, line.put ? line.size - line.put : 0);
	for (;;) {
		size_t part;

		if (!line.size && line.sent < count) {
			line.sizes[line.sent] = 20 + draw() % (most - 19);
			line.size = make_packet(line.packet, line.sent, line.sizes[line.sent]);
			line.sent++;
			line.put = 0;
		}
		if (!line.size)
			break;
		part = tg_aggfrag_put(&w, line.packet + line.put, line.size - line.put, !line.put);
		line.put += part;
		if (line.put < line.size)
			break;
		line.size = line.put = 0;
	}
	tg_aggfrag_end(&w);
	CU_ASSERT_EQUAL(w.used, CELL);
	return line.sequence++ & TG_AGGFRAG_SEQUENCE_MASK;
}

TEST(aggfrag, all_packets_arrive_in_order_and_whole)
{
	static const size_t most[] = { 40, 160, 600, ROOM };
	uint8_t cell[CELL];

	for (size_t i = 0; i < sizeof(most) / sizeof(most[0]); i++) {
		begin();
		while (line.sent < 1000 || line.size)
			CU_ASSERT_EQUAL(tg_aggfrag_read(&line.reader, fill(cell, 1000, most[i]), cell, CELL,
							take, NULL),
					0);
		CU_ASSERT_EQUAL(line.arrived, 1000);
		CU_ASSERT_EQUAL(line.wrong + line.reader.lost + line.reader.broken + line.reader.malformed,
				0);
	}
}

TEST(aggfrag, small_packets_share_a_cell)
{
	uint8_t cell[CELL];

	begin();
	fill(cell, 5, 20);
	CU_ASSERT_EQUAL(line.sent, 5);
	tg_aggfrag_read(&line.reader, 0, cell, CELL, take, NULL);
	CU_ASSERT_EQUAL(line.arrived, 5);
}

/* RFC 9347, 2.2.1: the offset points beyond the cell where the packet goes on in yet another one. */
TEST(aggfrag, layout_is_that_of_the_rfc)
{
	uint8_t packet[400], cell[CELL];
	struct tg_aggfrag_writer w;

	make_packet(packet, 0, 400);
	tg_aggfrag_begin(&w, cell, CELL, 0);
	CU_ASSERT_EQUAL(tg_aggfrag_put(&w, packet, 400, true), 164);
	CU_ASSERT(!memcmp(cell, "\0\0\0\0\x45", 5));
	tg_aggfrag_begin(&w, cell, CELL, 236);
	CU_ASSERT_EQUAL(tg_aggfrag_put(&w, packet + 164, 236, false), 164);
	CU_ASSERT(!memcmp(cell, "\0\0\0\xec", 4));
	tg_aggfrag_begin(&w, cell, CELL, 72);
	CU_ASSERT_EQUAL(tg_aggfrag_put(&w, packet + 328, 72, false), 72);
	tg_aggfrag_end(&w);
	CU_ASSERT(!memcmp(cell, "\0\0\0\x48", 4) && cell[76] == 0 && cell[CELL - 1] == 0);
	/* no packet begins where its length would not fit */
	tg_aggfrag_begin(&w, cell, CELL, 159);
	CU_ASSERT_EQUAL(tg_aggfrag_put(&w, packet, 159, false), 159);
	CU_ASSERT_EQUAL(tg_aggfrag_put(&w, packet, 20, true), 0);
}

/* Every loss costs packets, none is put together wrongly, and what comes later arrives. */
TEST(aggfrag, lost_cells_corrupt_nothing)
{
	uint8_t cell[CELL];
	unsigned lost = 0;

	begin();
	while (line.sent < MOST || line.size) {
		uint32_t sequence = fill(cell, MOST, 700);

		if (draw() % 4)
			tg_aggfrag_read(&line.reader, sequence, cell, CELL, take, NULL);
		else
			lost++;
	}
	CU_ASSERT_EQUAL(line.wrong, 0);
	CU_ASSERT(line.arrived > MOST / 8 && line.arrived < MOST);
	CU_ASSERT(line.reader.lost + 1 >= lost && line.reader.lost <= lost);
	CU_ASSERT_EQUAL(line.reader.malformed, 0);
	/* two cells after the last loss all is as ever */
	begin();
	for (int i = 0; i < 50; i++) {
		uint32_t sequence = fill(cell, MOST, 100);

		if (i != 10)
			tg_aggfrag_read(&line.reader, sequence, cell, CELL, take, NULL);
	}
	for (unsigned i = 0, missing = 0; i < line.sent - 2; i++) {
		missing += !line.seen[i];
		CU_ASSERT(missing <= 10);
	}
}

/* One that was overtaken has its whole packets, and does not disturb the one that is being put together. */
TEST(aggfrag, overtaken_cells)
{
	uint8_t cells[3][CELL];
	uint32_t numbers[3];

	for (int round = 0; round < 200; round++) {
		begin();
		for (int i = 0; i < 3; i++)
			numbers[i] = fill(cells[i], 100, 120);
		tg_aggfrag_read(&line.reader, numbers[0], cells[0], CELL, take, NULL);
		tg_aggfrag_read(&line.reader, numbers[2], cells[2], CELL, take, NULL);
		tg_aggfrag_read(&line.reader, numbers[1], cells[1], CELL, take, NULL);
		CU_ASSERT_EQUAL(line.wrong, 0);
		CU_ASSERT(line.arrived >= 1);
	}
}

TEST(aggfrag, cut_cells_are_refused_or_read_as_far_as_they_go)
{
	uint8_t cell[CELL];

	for (size_t size = 0; size < CELL; size++) {
		begin();
		fill(cell, 100, 60);
		tg_aggfrag_read(&line.reader, 0, cell, size, take, NULL);
		CU_ASSERT_EQUAL(line.wrong, 0);
		CU_ASSERT(size > TG_AGGFRAG_HEADER || line.reader.malformed == 1);
	}
}

/* Nothing is read or written out of bounds, whatever comes: the sanitizers look on. */
TEST(aggfrag, flipped_cells)
{
	uint8_t cell[CELL];

	begin();
	for (int i = 0; i < 3000; i++) {
		uint32_t sequence = fill(cell, MOST, 400);

		if (line.sent == MOST)
			begin();
		cell[draw() % CELL] ^= (uint8_t)(1u << draw() % 8);
		tg_aggfrag_read(&line.reader, sequence + !(draw() % 8), cell, CELL, take, NULL);
		CU_ASSERT(line.reader.have <= line.reader.want && line.reader.want <= ROOM);
	}
}

TEST(aggfrag, other_payloads)
{
	uint8_t cell[CELL] = { 1 };

	begin();
	/* sub-type 1, congestion control */
	CU_ASSERT_EQUAL(tg_aggfrag_read(&line.reader, 0, cell, CELL, take, NULL), -EBADMSG);
	/* no IP version */
	cell[0] = 0;
	cell[4] = 0x50;
	CU_ASSERT_EQUAL(tg_aggfrag_read(&line.reader, 0, cell, CELL, take, NULL), -EBADMSG);
	/* shorter than its header */
	memcpy(cell + 4, "\x45\0\0\x13", 4);
	CU_ASSERT_EQUAL(tg_aggfrag_read(&line.reader, 1, cell, CELL, take, NULL), -EBADMSG);
	/* longer than any that is taken */
	memcpy(cell + 4, "\x45\0\xff\xff", 4);
	CU_ASSERT_EQUAL(tg_aggfrag_read(&line.reader, 2, cell, CELL, take, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(line.reader.malformed, 4);
	CU_ASSERT_EQUAL(line.arrived, 0);
}
