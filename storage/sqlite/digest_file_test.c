/* SPDX-License-Identifier: Apache-2.0 */
/* What was put is what is got, of any length; what was forgotten, overwritten or never there is not known; and the room
 * on the disk goes back. */
#include "storage/sqlite/digest_file.h"

#include "base/mem.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIGESTS = 60 };

struct fixture {
    char directory[128];
    struct digest_file file;
    struct buffer out;
    struct bytes got;
    uint8_t *data;
    uint64_t places[DIGESTS];
};

static enum err get(struct fixture *f, uint64_t place)
{
    return digest_file_get(&f->file, place, &f->out, &f->got);
}

/* The lengths about a page's and the bound, and others. */
static size_t len_of(size_t i)
{
    static const size_t lens[] = { 0, 1, 4087, 4088, 4089, 8184, 8185, DIGEST_BYTES_MAX };
    return i < sizeof lens / sizeof lens[0] ? lens[i] : i * 977 % 20000;
}

static struct bytes digest_of(struct fixture *f, size_t i)
{
    for (size_t k = 0; k < len_of(i); k++)
        f->data[k] = (uint8_t)(k * 31 + i);
    return bytes_of(f->data, len_of(i));
}

static void begin(struct fixture *f)
{
    *f = (struct fixture){ .data = mem_alloc(DIGEST_BYTES_MAX) };
    assert_non_null(f->data);
    scratch_make(f->directory);
    digest_file_init(&f->file);
    f->file.directory = f->directory;
    buffer_init(&f->out, 2 * DIGEST_BYTES_MAX);
    assert_int_equal(get(f, DIGEST_NONE), ERR_NOT_FOUND);
    for (size_t i = 0; i < DIGESTS; i++) {
        assert_int_equal(digest_file_put(&f->file, digest_of(f, i), &f->places[i]), ERR_OK);
        assert_true(f->places[i] != DIGEST_NONE && f->places[i] != DIGEST_NEVER);
    }
}

static void end(struct fixture *f)
{
    digest_file_deinit(&f->file);
    buffer_deinit(&f->out);
    mem_free(f->data);
    scratch_remove(f->directory);
}

static bool is_known(struct fixture *f, size_t i)
{
    enum err e = get(f, f->places[i]);
    assert_true(e == ERR_OK || e == ERR_NOT_FOUND);
    if (e == ERR_OK)
        assert_true(bytes_equal(f->got, digest_of(f, i)));
    return e == ERR_OK;
}

static uint64_t blocks(struct fixture *f)
{
    struct stat s;
    assert_int_equal(fstat(atomic_load(&f->file.descriptor) - 1, &s), 0);
    return (uint64_t)s.st_blocks;
}

static void what_was_put_is_got(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    for (size_t i = DIGESTS; i-- > 0;)
        assert_true(is_known(&f, i));
    assert_int_equal(get(&f, DIGEST_NONE), ERR_NOT_FOUND);
    assert_int_equal(get(&f, DIGEST_NEVER), ERR_NOT_FOUND);
    /* Behind the end there is nothing, and at the length of another nothing that was written so. */
    assert_int_equal(get(&f, f.places[DIGESTS - 1] + (UINT64_C(99) << 20)), ERR_NOT_FOUND);
    assert_int_equal(get(&f, f.places[4] - 1), ERR_NOT_FOUND);
    end(&f);
}

static void what_is_forgotten_gives_its_room_back(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    uint64_t before = blocks(&f);
    for (size_t i = 0; i < DIGESTS; i += 2)
        digest_file_forget(&f.file, f.places[i]);
    digest_file_forget(&f.file, DIGEST_NONE);
    digest_file_forget(&f.file, DIGEST_NEVER);
    for (size_t i = 0; i < DIGESTS; i++)
        assert_int_equal(is_known(&f, i), i % 2 == 1);
    if (before > 0) /* else this file system does not say */
        assert_true(blocks(&f) < before);
    /* A new one does not lie where another was. */
    for (size_t i = 0; i < DIGESTS; i += 2)
        assert_int_equal(digest_file_put(&f.file, digest_of(&f, i), &f.places[i]), ERR_OK);
    for (size_t i = 0; i < DIGESTS; i++)
        assert_true(is_known(&f, i));
    end(&f);
}

/* The control of the hash: one wrong bit would hide what is there. */
static void what_is_damaged_is_not_known(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    int fd = atomic_load(&f.file.descriptor) - 1;
    for (size_t i = 1; i < DIGESTS; i++) {
        off_t at = (off_t)((f.places[i] >> 20) * 4096 + 8 + len_of(i) / 2);
        uint8_t one;
        if (len_of(i) == 0)
            continue;
        assert_int_equal(pread(fd, &one, 1, at), 1);
        one ^= 4;
        assert_int_equal(pwrite(fd, &one, 1, at), 1);
        assert_false(is_known(&f, i));
        one ^= 4;
        assert_int_equal(pwrite(fd, &one, 1, at), 1);
        assert_true(is_known(&f, i));
    }
    end(&f);
}

static void without_a_file_nothing_is_known(void **state)
{
    (void)state;
    struct digest_file file;
    struct buffer out;
    struct bytes got;
    uint64_t place = DIGEST_NONE;
    digest_file_init(&file);
    file.directory = "/proc/self/fd/none";
    buffer_init(&out, 100);
    assert_int_equal(digest_file_put(&file, BYTES_LITERAL("abc"), &place), ERR_IO);
    assert_int_equal(place, DIGEST_NONE);
    digest_file_forget(&file, UINT64_C(1) << 20 | 11);
    assert_int_equal(digest_file_get(&file, UINT64_C(1) << 20 | 11, &out, &got), ERR_NOT_FOUND);
    buffer_deinit(&out);
    digest_file_deinit(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_got),
        cmocka_unit_test(what_is_forgotten_gives_its_room_back),
        cmocka_unit_test(what_is_damaged_is_not_known),
        cmocka_unit_test(without_a_file_nothing_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
