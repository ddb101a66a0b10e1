/* SPDX-License-Identifier: Apache-2.0 */
/* front_page.h - what a person who starts the server, or asks its address without a browser, reads
 * first: where to send telemetry, where to ask, where the data lies. A browser gets the web page there.
 *
 * Threads    front_page_set() by one, also while the server runs; the page is answered on loops. */
#ifndef SPINDLE_CLI_FRONT_PAGE_H
#define SPINDLE_CLI_FRONT_PAGE_H

#include "cli/page.h"
#include "net/server.h"

struct front_page;

struct front_page_facts {
    const struct server *server;
    const struct listener_options *listeners;
    size_t listener_count;
    bool has_tls;
    const char *data; /* NULL: not said, to those who have shown no token */
    bool is_durable;
};

/* Append a listener's URL, as this machine reaches it. */
void front_page_url(const struct server *s, const struct listener_options *listeners, size_t index,
                    bool has_tls, struct buffer *out);
/* GET / without a token: the web page, or plain text, empty until front_page_set(). page may be NULL. */
NODISCARD enum err front_page_add_route(struct router *r, struct page *page,
                                        struct front_page **out);
/* Append the text. */
void front_page_write(const struct front_page_facts *facts, struct buffer *out);
/* Copies the text; on failure the page stays empty. Call it once. */
void front_page_set(struct front_page *p, struct bytes text);
/* The router must not be in use any more. NULL does nothing. */
void front_page_close(struct front_page *p);

#endif
