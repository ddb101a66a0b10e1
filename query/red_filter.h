/* SPDX-License-Identifier: Apache-2.0 */
/* red_filter.h - what of a filter over spans rollups can decide.
 *
 * Role       rollups tell spans apart by service, kind and status. A filter that asks for no more is answered from them
 *            alone, whatever the range.
 * Ownership  borrows from the filter.
 * Threads    pure. */
#ifndef SPINDLE_QUERY_RED_FILTER_H
#define SPINDLE_QUERY_RED_FILTER_H

#include "storage/expr.h"

#define RED_FILTER_STATUSES_ALL 7u

struct red_filter {
    struct bytes service; /* empty: all */
    unsigned kinds;       /* bit 1 << kind; 0: all */
    unsigned statuses;    /* bit 1 << status */
};

/* True: a span satisfies the filter (NULL: every span does) exactly when its series does. Of conditions joined by && each is
 * an equality of `resource.service.name`, of the kind or of the status. */
bool red_filter_of(const struct expr *filter, struct red_filter *out);

#endif
