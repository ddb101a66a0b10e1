/* SPDX-License-Identifier: Apache-2.0 */
/* search_testing.h - a segment source over bodies and row groups in memory, for tests. */
#ifndef SPINDLE_STORAGE_SEARCH_TESTING_H
#define SPINDLE_STORAGE_SEARCH_TESTING_H

#include "base/random.h"
#include "storage/search.h"

struct test_body {
    struct buffer data;
    enum signal signal;
    struct buffer group; /* the same as a row group, where is_group */
    bool is_group;
    struct buffer extents; /* of a group, once a search left them */
    struct segment_bounds bounds;
    bool is_damaged;
};

struct test_source {
    struct segment_source source; /* context is this struct */
    struct test_body *bodies;
    size_t count, capacity;
    struct arena arena; /* of the segments */
    struct hash_key key;
    size_t opens, damages;
    uint64_t false_hits; /* of may_contain, in 16 */
};

void test_source_init(struct test_source *s);
void test_source_deinit(struct test_source *s);
/* A new empty body, to be filled; its bounds are computed by test_source_ready(). */
struct buffer *test_source_add(struct test_source *s, enum signal signal);
void test_source_ready(struct test_source *s);
/* Before that: make a row group of some bodies, chosen by `random`. */
void test_source_group(struct test_source *s, struct random *random);

/* Protobuf of attributes: KeyValue in field `number`. */
void test_attribute_text(struct buffer *b, uint32_t number, const char *key, const char *value);
void test_attribute_int(struct buffer *b, uint32_t number, const char *key, int64_t value);

#endif
