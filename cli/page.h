/* SPDX-License-Identifier: Apache-2.0 */
/* page.h - the web page: its files, and its one HTML document for every address of its own.
 *
 * Role       files with a hash in their name never change and may be kept for ever; the document is
 *            asked for again each time. Nothing of it is secret, so that it can be shown before a token
 *            was given; what it asks the API is. Every answer forbids the browser to run or load anything
 *            from elsewhere.
 * Threads    building: one; answers: loops. */
#ifndef SPINDLE_CLI_PAGE_H
#define SPINDLE_CLI_PAGE_H

#include "base/budget.h"
#include "net/router.h"

struct page;

/* Adds GET /assets/{name}, and the router's HTTP fallback: a GET that accepts text/html gets the
 * document, anything else 404. *out is NULL in a program without the page: no route is added.
 *
 *   budget  answers are charged to it; refused answers are 503. Must outlive the router. */
NODISCARD enum err page_add_routes(struct router *r, struct budget *budget, struct page **out);
/* True when there is a page and the client would rather have it than plain text. */
bool page_is_wanted(const struct page *p, const struct request *r);
/* Answer with the document. p is not NULL. */
void page_respond(struct page *p, struct exchange *x);
/* The router must not be in use any more. NULL does nothing. */
void page_close(struct page *p);

#endif
