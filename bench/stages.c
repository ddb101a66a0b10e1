/* SPDX-License-Identifier: Apache-2.0 */
/* stages - fixed work through each stage of the path, counted.
 *
 *   stages --directory NEW [--spans N] [--only receive|decode|store] [--defect NAME]
 *   stages --rollups-time ROUNDS [--spans N]
 *
 * Prints allocations, copied and written bytes of each stage as JSON. Under
 *
 *   valgrind --tool=callgrind --instr-atstart=no stages ...
 *
 * a dump of the profile follows each stage, with its name as the trigger, and its total is the instructions.
 * tests/gates compares both with what is committed. The second form prints processor time: what rollups and edges add
 * to building row groups. */
#include "bench/stages.h"

#include "base/text.h"
#include "bench/workload.h"
#include "codec/codec.h"

#include <stdio.h>

#define SPANS_DEFAULT 32768u
#define BATCH         512u
#define ROUNDS_MAX    10000u

struct options {
    const char *directory, *only;
    uint64_t spans;
    uint64_t rollups_rounds; /* 0: count */
    enum stages_defect defect;
};

static bool defect_parse(const char *name, enum stages_defect *out)
{
    static const char *const names[] = { "none", "allocation", "copy", "work", "write" };
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum stages_defect)i;
            return true;
        }
    return false;
}

static bool options_parse(int argc, char **argv, struct options *o)
{
    *o = (struct options){ .spans = SPANS_DEFAULT };
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--directory") == 0)
            o->directory = argv[i + 1];
        else if (strcmp(argv[i], "--only") == 0)
            o->only = argv[i + 1];
        else if (strcmp(argv[i], "--spans") == 0 &&
                 text_u64_parse(bytes_text(argv[i + 1]), &o->spans))
            continue;
        else if (strcmp(argv[i], "--rollups-time") == 0 &&
                 text_u64_parse(bytes_text(argv[i + 1]), &o->rollups_rounds))
            continue;
        else if (strcmp(argv[i], "--defect") != 0 || !defect_parse(argv[i + 1], &o->defect))
            return false;
    }
    bool has_work = o->directory != NULL || o->rollups_rounds > 0;
    return argc % 2 == 1 && has_work && o->spans >= BATCH && o->rollups_rounds <= ROUNDS_MAX;
}

static enum err request_add(struct stages_work *work, struct bytes plain, uint32_t spans,
                            struct buffer *packed)
{
    struct stages_request *r = &work->requests[work->count];
    buffer_reset(packed);
    enum err e = codec_compress(CODEC_GZIP, 6, plain, packed);
    if (e == ERR_OK)
        e = arena_dup(&work->arena, plain, &r->plain);
    if (e == ERR_OK)
        e = arena_dup(&work->arena, buffer_bytes(packed), &r->gzip);
    if (e == ERR_OK) {
        r->spans = spans;
        work->spans += spans;
        work->count++;
    }
    return e;
}

static enum err work_make(uint64_t spans, struct stages_work *work)
{
    struct workload_options options = { .kind = WORKLOAD_W1, .spans = spans, .batch = BATCH };
    struct workload_request request;
    struct workload *w = NULL;
    struct buffer body, packed;
    *work = (struct stages_work){ 0 };
    arena_init(&work->arena, SIZE_MAX, NULL);
    buffer_init(&body, SIZE_MAX);
    buffer_init(&packed, SIZE_MAX);
    work->requests = arena_alloc_array(&work->arena, spans / BATCH + 1, sizeof *work->requests);
    enum err e = work->requests == NULL ? ERR_NOMEM : workload_open(&options, &w);
    while (e == ERR_OK) {
        buffer_reset(&body);
        e = workload_next(w, &body, &request);
        if (e == ERR_OK)
            e = request_add(work, buffer_bytes(&body), request.spans, &packed);
    }
    workload_close(w);
    buffer_deinit(&body);
    buffer_deinit(&packed);
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static bool is_wanted(const struct options *o, const char *part)
{
    return o->only == NULL || strcmp(o->only, part) == 0;
}

int main(int argc, char **argv)
{
    struct options o;
    struct stages_work work;
    if (!options_parse(argc, argv, &o)) {
        (void)fputs("usage: stages --directory NEW [--spans N] [--only receive|decode|store] "
                    "[--defect allocation|copy|work|write]\n"
                    "       stages --rollups-time ROUNDS [--spans N]\n",
                    stderr);
        return 2;
    }
    if (work_make(o.spans, &work) != ERR_OK)
        return 1;
    if (o.rollups_rounds > 0) {
        bool is_timed = stages_time(&work, o.rollups_rounds);
        arena_deinit(&work.arena);
        return is_timed ? 0 : 1;
    }
    bool is_ok = !is_wanted(&o, "receive") || stages_receive(&work, o.defect);
    is_ok = is_ok && (!is_wanted(&o, "decode") || stages_decode(&work, o.defect));
    is_ok = is_ok && (!is_wanted(&o, "decode") || stages_derive(&work));
    is_ok = is_ok && (!is_wanted(&o, "store") || stages_store(&work, o.directory, o.defect));
    struct buffer out;
    buffer_init(&out, SIZE_MAX);
    stages_print(&out);
    is_ok =
        is_ok && buffer_error(&out) == ERR_OK && fwrite(out.data, 1, out.len, stdout) == out.len;
    buffer_deinit(&out);
    arena_deinit(&work.arena);
    return is_ok ? 0 : 1;
}
