/* SPDX-License-Identifier: Apache-2.0 */
/* scrape.h - pages of any length, made and sent by a thread of their own.
 *
 * Role       /metrics may be tens of megabytes: no event loop makes it, and it is sent as it is made, so
 *            that it is never in memory whole. Scrapers wait in a short queue.
 * Threads    scrapes_take() on any; the page is made on the one thread; open and close: one.
 * Blocking   scrapes_close() waits for the page being made. */
#ifndef SPINDLE_COLLECTOR_SCRAPE_H
#define SPINDLE_COLLECTOR_SCRAPE_H

#include "net/exchange.h"

#define SCRAPES_WAITING_MAX 16
/* A page up to this size is one answer, compressed for those who accept it. */
#define SCRAPE_WHOLE_BYTES (256 * 1024)
/* Who reads so slowly that this passes without a place for the next piece loses the page. */
#define SCRAPE_PATIENCE_NS (UINT64_C(5) * 1000000000)

struct scrapes;
struct scrape;

/* Makes a page by scrape_write() and returns; on ERR_OK it is complete. */
typedef enum err scrape_page_fn(struct scrape *s, struct exchange *x, void *context);

/* patience_ns: 0: SCRAPE_PATIENCE_NS. Errors: ERR_NOMEM. */
NODISCARD enum err scrapes_open(scrape_page_fn *make_page, void *context, uint64_t patience_ns,
                                struct scrapes **out);
/* Answer this exchange with a page, or, when too many wait, with 503. */
void scrapes_take(struct scrapes *s, struct exchange *x);
/* Those that wait are answered with 503. NULL does nothing. */
void scrapes_close(struct scrapes *s);

/* Before the first piece. Static text. */
void scrape_content_type(struct scrape *s, const char *content_type);
/* Takes the piece in any case. Errors: ERR_CANCELLED: nobody reads on; ERR_NOMEM. Fits
 * exposition_flush_fn. */
NODISCARD enum err scrape_write(void *scrape, struct buffer *take_piece);

#endif
