/* SPDX-License-Identifier: Apache-2.0 */
/* workload_shop.h - the shop of W1, W2 and W4: its names, and one span before it is written.
 *
 * Role       workload_shop.c makes traces and hands spans out by their end; workload_shop_spans.c
 * knows the names and attributes and writes them. */
#ifndef SPINDLE_BENCH_WORKLOAD_SHOP_H
#define SPINDLE_BENCH_WORKLOAD_SHOP_H

#include "base/random.h"
#include "bench/workload_private.h"

enum { SHOP_SERVICES = 24, SHOP_PODS = 4, SHOP_OPERATIONS = 12, SHOP_USERS = 100000 };

enum shop_family { FAMILY_HTTP, FAMILY_DB, FAMILY_RPC, FAMILY_INTERNAL, FAMILY_COUNT };
extern const uint8_t shop_operations[FAMILY_COUNT][3];

/* One span, as it waits for its turn. */
struct shop_span {
    uint64_t start_unix_ns, end_unix_ns;
    uint64_t trace_low,
        trace_high; /* bytes 0-7 and 8-15 of the trace ID, as little-endian numbers */
    uint64_t span_id, parent_id;
    uint64_t event_unix_ns;
    uint32_t user, object;
    uint32_t flags;
    uint32_t event_object;
    uint8_t service,
        target; /* target: whose operation it is; the callee in a CLIENT span of a call */
    uint8_t operation, family, kind;
    uint8_t event; /* 0: none, else 1 + its number */
    uint8_t event_attempt;
    uint8_t returned_rows, thread;
    bool is_error, is_not_found, is_cache_hit;
    bool callee_has_error;
};

/* Everything about the shop that does not change: text made once. */
struct shop_names {
    struct arena arena;
    struct bytes service[SHOP_SERVICES];
    struct bytes name[SHOP_SERVICES][SHOP_OPERATIONS];
    struct bytes address[SHOP_SERVICES], database[SHOP_SERVICES], database_host[3];
    struct bytes route[SHOP_SERVICES][SHOP_OPERATIONS]; /* without "{id}" at its end */
    struct bytes collection[SHOP_SERVICES][SHOP_OPERATIONS];
    struct bytes query[SHOP_SERVICES][SHOP_OPERATIONS];
    struct bytes rpc_service[SHOP_SERVICES], rpc_method[SHOP_SERVICES][SHOP_OPERATIONS];
    struct bytes function[SHOP_SERVICES][SHOP_OPERATIONS];
    struct bytes stack_trace[SHOP_SERVICES];
    struct bytes user_agent[16];
    struct bytes scope;
    struct bytes *resources; /* [SHOP_SERVICES * SHOP_PODS] */
};
enum err shop_names_init(struct shop_names *n);
void shop_names_deinit(struct shop_names *n);

/* W4's changes to values and names; all zero for W1 and W2. */
struct shop_twist {
    bool is_on;
    uint64_t span_number;
    uint64_t text_number; /* of the unique strings given so far */
    struct random *random;
    char name[96]; /* the last new name */
};

/* Append the content of one Span message. wide: W2's own randomness, or NULL. *out_name is valid
 * until the next call. */
void shop_span_write(const struct shop_names *n, const struct shop_span *s, uint64_t id_xor,
                     struct random *wide, struct shop_twist *twist, struct buffer *out,
                     struct bytes *out_name);

#endif
