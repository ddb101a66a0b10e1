/* SPDX-License-Identifier: Apache-2.0 */
#include "query/red_filter.h"

#include "storage/derive/clean_name.h"
#include "storage/derived.h"
#include "storage/service_name.h"

/* Rollups have those without a name under one that others may use as well, and cut what is long. */
static bool is_own_name(struct bytes service)
{
    return service.len > 0 && service.len < CLEAN_NAME_MAX &&
           !bytes_equal_text(service, SERVICE_UNKNOWN) &&
           !bytes_equal_text(service, DERIVED_OVERFLOW_NAME);
}

static bool service_take(const struct expr_value *v, struct red_filter *f)
{
    if (v->type != EXPR_STRING || !is_own_name(v->bytes) ||
        (f->service.len > 0 && !bytes_equal(f->service, v->bytes)))
        return false;
    f->service = v->bytes;
    return true;
}

static bool equality_take(const struct expr *field, const struct expr_value *v,
                          struct red_filter *f)
{
    if (field->scope == EXPR_SCOPE_RESOURCE && bytes_equal_text(field->key, "service.name"))
        return service_take(v, f);
    if (field->scope != EXPR_SCOPE_INTRINSIC)
        return false;
    /* Statuses and kinds that OTLP does not know are counted with what has none. */
    if (field->intrinsic == EXPR_INTRINSIC_SPAN_STATUS && v->type == EXPR_STATUS &&
        v->integer >= 1 && v->integer <= 2) {
        f->statuses &= 1u << v->integer;
        return f->statuses != 0;
    }
    if (field->intrinsic == EXPR_INTRINSIC_SPAN_KIND && v->type == EXPR_KIND && v->integer >= 1 &&
        v->integer <= 5 && (f->kinds == 0 || f->kinds == 1u << v->integer)) {
        f->kinds = 1u << v->integer;
        return true;
    }
    return false;
}

bool red_filter_of(const struct expr *filter, struct red_filter *out)
{
    struct red_filter f = { .statuses = RED_FILTER_STATUSES_ALL };
    const struct expr *open[EXPR_DEPTH_MAX + 1];
    size_t count = 0;
    if (filter != NULL)
        open[count++] = filter;
    while (count > 0) {
        const struct expr *e = open[--count];
        if (e->op == EXPR_AND) { /* a tree of this depth has no more than that open at once */
            open[count++] = e->left;
            open[count++] = e->right;
            continue;
        }
        if (e->op != EXPR_EQ)
            return false;
        bool is_turned = e->left->op == EXPR_CONST;
        const struct expr *field = is_turned ? e->right : e->left;
        const struct expr *value = is_turned ? e->left : e->right;
        if (field->op != EXPR_FIELD || value->op != EXPR_CONST ||
            !equality_take(field, &value->value, &f))
            return false;
    }
    *out = f;
    return true;
}
