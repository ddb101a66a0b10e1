/* SPDX-License-Identifier: Apache-2.0 */
/* router.c - see router.h. Routes are kept most specific first, so the first that matches is the
 * right one; a table of some sixty is walked faster than it is hashed. */
#include "base/mem.h"
#include "base/text.h"
#include "net/router_private.h"

#include <assert.h>

#define PARTS_MAX      12
#define PARAMETERS_MAX 4

enum part_kind { PART_FIXED, PART_NAME, PART_REST };

struct part {
    enum part_kind kind;
    struct bytes text;
};

struct entry {
    struct route route;
    size_t part_count;
    struct part parts[PARTS_MAX];
};

struct router {
    struct entry *entries;
    size_t count, capacity;
    struct route fallback[2]; /* by kind; handler NULL: none */
};

enum err router_open(struct router **out)
{
    struct router *r = mem_zalloc(sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    *out = r;
    return ERR_OK;
}

void router_close(struct router *r)
{
    if (r == NULL)
        return;
    mem_free(r->entries);
    mem_free(r);
}

static bool parse_part(struct bytes text, struct part *out)
{
    bool opens = text.len > 0 && text.data[0] == '{';
    bool closes = text.len > 0 && text.data[text.len - 1] == '}';
    if (text.len == 0 || opens != closes)
        return false;
    *out = (struct part){ .kind = PART_FIXED, .text = text };
    if (!opens)
        return bytes_find(text, '{') == SIZE_MAX && bytes_find(text, '}') == SIZE_MAX;
    struct bytes name = bytes_slice(text, 1, text.len - 2);
    out->kind = PART_NAME;
    if (name.len > 0 && name.data[name.len - 1] == '*') {
        out->kind = PART_REST;
        name.len--;
    }
    return name.len > 0;
}

static bool parse_pattern(const char *path, struct entry *out)
{
    struct bytes rest = bytes_text(path);
    size_t parameters = 0;
    out->part_count = 0;
    if (rest.len == 0 || rest.data[0] != '/')
        return false;
    rest = bytes_slice(rest, 1, SIZE_MAX);
    if (rest.len == 0)
        return true;
    for (;;) {
        size_t slash = bytes_find(rest, '/');
        if (out->part_count == PARTS_MAX)
            return false;
        struct part *part = &out->parts[out->part_count];
        if (!parse_part(bytes_slice(rest, 0, slash), part))
            return false;
        out->part_count++;
        parameters += part->kind != PART_FIXED;
        if (slash == SIZE_MAX)
            return parameters <= PARAMETERS_MAX;
        if (part->kind == PART_REST)
            return false; /* only the last part may take the rest */
        rest = bytes_slice(rest, slash + 1, SIZE_MAX);
    }
}

/* < 0: a is tried before b. Fixed before {name} before {rest*}, from the left. */
static int order(const struct entry *a, const struct entry *b)
{
    for (size_t i = 0; i < a->part_count && i < b->part_count; i++)
        if (a->parts[i].kind != b->parts[i].kind)
            return a->parts[i].kind < b->parts[i].kind ? -1 : 1;
    return (a->part_count < b->part_count) - (a->part_count > b->part_count);
}

/* The same paths: names of parameters do not count. */
static bool same_pattern(const struct entry *a, const struct entry *b)
{
    if (a->part_count != b->part_count)
        return false;
    for (size_t i = 0; i < a->part_count; i++) {
        if (a->parts[i].kind != b->parts[i].kind)
            return false;
        if (a->parts[i].kind == PART_FIXED && !bytes_equal(a->parts[i].text, b->parts[i].text))
            return false;
    }
    return true;
}

enum err router_add(struct router *r, const struct route *route)
{
    struct entry entry = { .route = *route };
    if (route->path == NULL || route->handler == NULL || !parse_pattern(route->path, &entry))
        return ERR_INVALID;
    for (size_t i = 0; i < r->count; i++)
        if (r->entries[i].route.kind == route->kind &&
            r->entries[i].route.method == route->method && same_pattern(&r->entries[i], &entry))
            return ERR_EXISTS;
    if (r->count == r->capacity) {
        size_t capacity = r->capacity == 0 ? 16 : 2 * r->capacity;
        struct entry *entries = mem_realloc(r->entries, capacity * sizeof *entries);
        if (entries == NULL)
            return ERR_NOMEM;
        r->entries = entries;
        r->capacity = capacity;
    }
    size_t at = r->count;
    while (at > 0 && order(&entry, &r->entries[at - 1]) < 0)
        at--;
    memmove(&r->entries[at + 1], &r->entries[at], (r->count - at) * sizeof *r->entries);
    r->entries[at] = entry;
    r->count++;
    return ERR_OK;
}

size_t router_count(const struct router *r)
{
    return r->count;
}

const struct route *router_at(const struct router *r, size_t index)
{
    assert(index < r->count);
    return &r->entries[index].route;
}

void router_set_fallback(struct router *r, enum route_kind kind, route_handler_fn *handler,
                         void *context)
{
    r->fallback[kind] = (struct route){ .kind = kind,
                                        .method = HTTP_OTHER,
                                        .path = "",
                                        .scope = SCOPE_OPEN,
                                        .handler = handler,
                                        .context = context };
}

const struct route *router_fallback(const struct router *r, enum route_kind kind)
{
    return r->fallback[kind].handler == NULL ? NULL : &r->fallback[kind];
}

/* The target's parts, still encoded. False when there are more than any route has, and no route
 * takes a rest that long: `rest` of the last entry then begins at the same part. */
struct split {
    size_t count;
    struct bytes parts[PARTS_MAX];
    struct bytes rests[PARTS_MAX]; /* from this part to the end */
    bool is_longer;                /* there are more parts */
};

static void split_target(struct bytes target, struct split *out)
{
    struct bytes rest = bytes_slice(target, 1, SIZE_MAX);
    *out = (struct split){ 0 };
    for (bool is_last = rest.len == 0; !is_last;) {
        if (out->count == PARTS_MAX) {
            out->is_longer = true;
            return;
        }
        size_t slash = bytes_find(rest, '/');
        out->rests[out->count] = rest;
        out->parts[out->count++] = bytes_slice(rest, 0, slash);
        is_last = slash == SIZE_MAX;
        rest = is_last ? (struct bytes){ 0 } : bytes_slice(rest, slash + 1, SIZE_MAX);
    }
}

static bool equal_decoded(struct bytes encoded, struct bytes plain)
{
    if (bytes_find(encoded, '%') == SIZE_MAX)
        return bytes_equal(encoded, plain);
    uint8_t decoded[128];
    size_t len;
    return encoded.len <= sizeof decoded && text_percent_decode(encoded, false, decoded, &len) &&
           bytes_equal(bytes_of(decoded, len), plain);
}

/* No empty part, and no slash that came encoded: it could step out of the folder that a {rest*}
 * stands for. */
static bool rest_is_plain(struct bytes rest)
{
    if (rest.len == 0 || rest.data[0] == '/' || rest.data[rest.len - 1] == '/')
        return false;
    for (size_t i = 1; i < rest.len; i++)
        if (rest.data[i] == '/' && rest.data[i - 1] == '/')
            return false;
    for (size_t i = 0; i + 2 < rest.len; i++) {
        if (rest.data[i] != '%')
            continue;
        uint8_t low = rest.data[i + 2] | 0x20;
        if ((rest.data[i + 1] == '2' && low == 'f') || (rest.data[i + 1] == '5' && low == 'c'))
            return false;
    }
    return true;
}

static bool matches(const struct entry *e, const struct split *s)
{
    for (size_t i = 0; i < e->part_count; i++) {
        if (i >= s->count)
            return false;
        if (e->parts[i].kind == PART_REST)
            return rest_is_plain(s->rests[i]);
        if (s->parts[i].len == 0)
            return false;
        if (e->parts[i].kind == PART_FIXED && !equal_decoded(s->parts[i], e->parts[i].text))
            return false;
    }
    return s->count == e->part_count && !s->is_longer;
}

static bool decode(struct arena *arena, struct bytes encoded, struct bytes *out)
{
    uint8_t *room = arena_alloc_bytes(arena, encoded.len + 1);
    size_t len;
    if (room == NULL || !text_percent_decode(encoded, false, room, &len))
        return false;
    *out = bytes_of(room, len);
    return true;
}

static bool take_parameters(const struct entry *e, const struct split *s, struct arena *arena,
                            struct bytes parameters[4])
{
    size_t n = 0;
    for (size_t i = 0; i < e->part_count; i++) {
        if (e->parts[i].kind == PART_FIXED)
            continue;
        assert(n < PARAMETERS_MAX);
        if (!decode(arena, e->parts[i].kind == PART_REST ? s->rests[i] : s->parts[i],
                    &parameters[n++]))
            return false;
    }
    return true;
}

static const char *method_text(enum http_method method)
{
    switch (method) {
    case HTTP_GET:
        return "GET, HEAD";
    case HTTP_HEAD:
        return "HEAD";
    case HTTP_POST:
        return "POST";
    case HTTP_PUT:
        return "PUT";
    case HTTP_DELETE:
        return "DELETE";
    case HTTP_OPTIONS:
        return "OPTIONS";
    case HTTP_OTHER:
        break;
    }
    return "";
}

/* "GET, HEAD, POST": each allowed method once. */
static void allow_of(unsigned allowed, struct arena *arena, struct bytes *out)
{
    uint8_t *text = arena_alloc_bytes(arena, 64);
    size_t len = 0;
    if (text == NULL)
        return;
    for (unsigned m = 0; m < HTTP_OTHER; m++) {
        if ((allowed & (1u << m)) == 0)
            continue;
        struct bytes name = bytes_text(method_text((enum http_method)m));
        if (len > 0) {
            text[len++] = ',';
            text[len++] = ' ';
        }
        memcpy(text + len, name.data, name.len);
        len += name.len;
    }
    *out = bytes_of(text, len);
}

enum route_match router_find(const struct router *r, enum route_kind kind, enum http_method method,
                             struct bytes target, struct arena *arena,
                             const struct route **out_route, struct bytes parameters[4],
                             struct bytes *out_allow)
{
    struct split split;
    unsigned allowed = 0;
    split_target(target, &split);
    enum http_method served = method == HTTP_HEAD ? HTTP_GET : method;
    for (size_t i = 0; i < r->count; i++) {
        const struct entry *e = &r->entries[i];
        if (e->route.kind != kind || !matches(e, &split))
            continue;
        if (e->route.method == served || e->route.method == method) {
            if (!take_parameters(e, &split, arena, parameters))
                return ROUTE_NOT_FOUND;
            *out_route = &e->route;
            return ROUTE_FOUND;
        }
        allowed |= 1u << e->route.method;
    }
    if (allowed == 0)
        return ROUTE_NOT_FOUND;
    allow_of(allowed, arena, out_allow);
    return ROUTE_OTHER_METHOD;
}
