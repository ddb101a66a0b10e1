/* SPDX-License-Identifier: Apache-2.0 */
/* Shows that the three sources of options agree on one table: precedence, each type's good and bad
 * texts, complaints that name the flag, the variable or the file's line, suggestions for near
 * misses, and that what --print-config prints reads back as the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/serve_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* clang-format off: one row an option */
#define SAMPLE_OPTIONS(X)                                                                          \
    X(TEXT, config, "config", NULL, "FILE", "A file.")                                             \
    X(TEXT, data_dir, "data-dir", "./d", "DIR", "A directory.")                                    \
    X(TEXT, name, "name", NULL, "NAME", "Not set by default.")                                     \
    X(SECRET, token, "auth-token", NULL, "TOKEN", "A secret.")                                     \
    X(FLAG, is_quiet, "quiet", "false", "", "A flag.")                                             \
    X(COUNT, threads, "threads", "0", "N", "A count.")                                             \
    X(SIZE, memory, "memory-limit", "64MiB", "SIZE", "A size.")                                    \
    X(DURATION, hold, "hold-time", "2s", "TIME", "A duration.")                                    \
    X(CHOICE, mode, "mode", "fsync", "fsync|process", "A choice.")                                 \
    X(COUNT, slots, "slots", NULL, "N", "A count with bounds.", "1..64")                           \
    X(DURATION, keep, "keep", "0s", "TIME", "A duration with a least, or 0.", "0|1m..")            \
    X(SIZE, page, "page", NULL, "SIZE", "A size with bounds.", "1KiB..1MiB")                       \
    X(LIST, rules, "rule", NULL, "RULE", "A list.")
/* clang-format on */

struct sample_options {
    SAMPLE_OPTIONS(OPTION_MEMBER)
};
#define ROW(...) OPTION_ROW(sample_options, __VA_ARGS__)
static const struct option rows[] = { SAMPLE_OPTIONS(ROW) };
static const char *check_item(const struct option *row, const char *item)
{
    assert_string_equal(row->name, "rule");
    return strstr(item, "bad") != NULL ? "it is bad" : NULL;
}

static const struct option_table table = { .command = "sample",
                                           .summary = "A sample.",
                                           .rows = rows,
                                           .count = sizeof rows / sizeof rows[0],
                                           .check_item = check_item };

struct outcome {
    enum err e;
    struct sample_options values;
    struct option_settings settings;
    struct arena arena;
    char message[OPTIONS_MESSAGE_MAX];
};

/* flags and environment: lists that end with NULL. The arena stays for the values' texts. */
static void run(struct outcome *o, const char *const *flags, const char *const *environment)
{
    char *argv[32] = { (char *)(uintptr_t) "sample" };
    int argc = 1;
    *o = (struct outcome){ 0 };
    for (; flags != NULL && *flags != NULL; flags++)
        argv[argc++] = (char *)(uintptr_t)*flags;
    arena_init(&o->arena, 4 * OPTIONS_FILE_MAX, NULL);
    o->e = options_read(&table, argc, argv, (char *const *)(uintptr_t)environment, &o->arena,
                        &o->values, &o->settings, o->message);
}

static void done(struct outcome *o)
{
    arena_deinit(&o->arena);
}

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })

static char *file_with(const char *text)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/options_test.XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

static void defaults_hold_without_sources(void **state)
{
    (void)state;
    struct outcome o;
    run(&o, NULL, NULL);
    assert_int_equal(o.e, ERR_OK);
    assert_string_equal(o.values.data_dir, "./d");
    assert_null(o.values.name);
    assert_null(o.values.token);
    assert_false(o.values.is_quiet);
    assert_int_equal(o.values.memory, 64 << 20);
    assert_int_equal(o.values.hold, 2000000000);
    assert_int_equal(o.values.mode, 0);
    done(&o);
}

static void flags_win_over_environment_over_file(void **state)
{
    (void)state;
    struct outcome o;
    char *path = file_with("data_dir: from-file\nname: from-file\nthreads: 3\n");
    run(&o, LIST("--config", path, "--data-dir=from-flag"),
        LIST("SPINDLE_DATA_DIR=from-environment", "SPINDLE_NAME=from-environment", "OTHER=x",
             "SPINDLE_PORT=tcp://10.0.0.1:4317"));
    assert_int_equal(o.e, ERR_OK);
    assert_string_equal(o.values.data_dir, "from-flag");
    assert_string_equal(o.values.name, "from-environment");
    assert_int_equal(o.values.threads, 3);
    assert_int_equal(o.settings.of[1].origin, OPTION_FROM_FLAG);
    assert_int_equal(o.settings.of[2].origin, OPTION_FROM_ENVIRONMENT);
    assert_int_equal(o.settings.of[5].origin, OPTION_FROM_FILE);
    assert_int_equal(o.settings.of[5].line, 3);
    done(&o);

    /* An empty variable is not set; the file may be named by the environment too. */
    char variable[128];
    snprintf(variable, sizeof variable, "SPINDLE_CONFIG=%s", path);
    run(&o, NULL, LIST(variable, "SPINDLE_NAME="));
    assert_int_equal(o.e, ERR_OK);
    assert_string_equal(o.values.name, "from-file");
    done(&o);
    unlink(path);
}

static void lists_gather_their_items(void **state)
{
    (void)state;
    struct outcome o;
    run(&o, LIST("--rule", "a => b", "--quiet", "--rule=c"), LIST("SPINDLE_RULE=x"));
    assert_int_equal(o.e, ERR_OK);
    assert_string_equal(o.values.rules, "a => b\nc");
    done(&o);
    run(&o, NULL, LIST("SPINDLE_RULE=x\ny"));
    assert_string_equal(o.values.rules, "x\ny");
    done(&o);

    char *path = file_with("rule:\n  - \"GET /{id}\"\n  - two\n");
    run(&o, LIST("--config", path), NULL);
    assert_int_equal(o.e, ERR_OK);
    assert_string_equal(o.values.rules, "GET /{id}\ntwo");
    struct buffer printed;
    buffer_init(&printed, 1 << 16);
    options_write_config(&table, &o.settings, &printed);
    buffer_append_byte(&printed, '\0');
    assert_non_null(strstr((const char *)printed.data, "rule: [\"GET /{id}\",\"two\"] # file\n"));
    buffer_deinit(&printed);
    done(&o);
    unlink(path);
    path = file_with("quiet: true\nrule: one\n");
    run(&o, LIST("--config", path), NULL);
    assert_string_equal(o.values.rules, "one");
    done(&o);
    unlink(path);

    static const char *const wrong[][2] = {
        { "quiet: true\nrule:\n  - good\n  - a bad one\n", ":4: rule: 'a bad one': it is bad" },
        { "rule:\n  - a: b\n", ":2: 'rule' needs a list of single lines: RULE" },
        { "rule:\n  -\n", ":2: 'rule' needs a list of single lines: RULE" },
        { "rule:\n  key: value\n", ":2: 'rule' needs a list of single lines: RULE" },
        { "rule:\n  - |\n    a\n    b\n", ":2: 'rule' needs a list of single lines: RULE" },
        { "rule: []\nrule: a\n", ":2: 'rule' is set a second time; the first is in line 1" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        path = file_with(wrong[i][0]);
        run(&o, LIST("--config", path), NULL);
        assert_int_equal(o.e, ERR_INVALID);
        if (strstr(o.message, wrong[i][1]) == NULL)
            fail_msg("%s", o.message);
        done(&o);
        unlink(path);
    }
    run(&o, LIST("--rule", "fine", "--rule", "bad"), NULL);
    assert_int_equal(o.e, ERR_INVALID);
    assert_string_equal(o.message, "--rule: 'bad': it is bad");
    done(&o);
    run(&o, NULL, LIST("SPINDLE_RULE=x\nbad y"));
    assert_string_equal(o.message, "SPINDLE_RULE: 'bad y': it is bad");
    done(&o);
}

static void types_read_their_texts(void **state)
{
    (void)state;
    struct outcome o;
    run(&o,
        LIST("--quiet", "--threads=4", "--memory-limit", "1GiB", "--hold-time", "1m30s", "--mode",
             "process", "--auth-token", "s3cret"),
        NULL);
    assert_int_equal(o.e, ERR_OK);
    assert_true(o.values.is_quiet);
    assert_int_equal(o.values.threads, 4);
    assert_int_equal(o.values.memory, 1 << 30);
    assert_int_equal(o.values.hold, UINT64_C(90000000000));
    assert_int_equal(o.values.mode, 1);
    assert_string_equal(o.values.token, "s3cret");
    done(&o);
    run(&o, LIST("--quiet=no"), NULL);
    assert_int_equal(o.e, ERR_OK);
    assert_false(o.values.is_quiet);
    done(&o);
}

static void wrong_flags_are_explained(void **state)
{
    (void)state;
    static const struct {
        const char *flag, *message;
    } cases[] = {
        { "--memory-limt=1", "--memory-limt is not an option of spindle sample; did you mean "
                             "--memory-limit?" },
        { "--mem=1", "--mem is not an option of spindle sample; did you mean --memory-limit?" },
        { "--zzz", "--zzz is not an option of spindle sample" },
        { "-x", "'-x' is not an option of spindle sample; options begin with --" },
        { "data", "'data' is not an option of spindle sample; options begin with --" },
        { "--", "'--' is not an option of spindle sample; options begin with --" },
        { "--name", "--name needs a value: --name NAME" },
        { "--threads=-1", "--threads: '-1' is not a whole number" },
        { "--threads=", "--threads: '' is not a whole number" },
        { "--threads=99999999999999999999",
          "--threads: '99999999999999999999' is not a whole number" },
        { "--memory-limit=12q", "--memory-limit: '12q' is not a size such as 512MiB" },
        { "--hold-time=-2s", "--hold-time: '-2s' is not a duration such as 1m30s" },
        { "--slots=0", "--slots: '0' is not from 1 to 64" },
        { "--slots=65", "--slots: '65' is not from 1 to 64" },
        { "--keep=59s", "--keep: '59s' is not 0 or at least 1m" },
        { "--page=1023", "--page: '1023' is not from 1KiB to 1MiB" },
        { "--page=1025KiB", "--page: '1025KiB' is not from 1KiB to 1MiB" },
        { "--mode=sync", "--mode: 'sync' is not one of fsync|process" },
        { "--mode=fsync|process", "--mode: 'fsync|process' is not one of fsync|process" },
        { "--quiet=maybe", "--quiet: 'maybe' is not true or false" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct outcome o;
        run(&o, LIST(cases[i].flag), NULL);
        assert_int_equal(o.e, ERR_INVALID);
        assert_string_equal(o.message, cases[i].message);
        done(&o);
    }
    struct outcome o;
    run(&o, NULL, LIST("SPINDLE_HOLD_TIME=soon"));
    assert_int_equal(o.e, ERR_INVALID);
    assert_string_equal(o.message, "SPINDLE_HOLD_TIME: 'soon' is not a duration such as 1m30s");
    done(&o);
}

static void bounds_belong_to_their_range(void **state)
{
    (void)state;
    static const char *const good[] = { "--slots=1", "--slots=64",  "--keep=0s",
                                        "--keep=1m", "--page=1KiB", "--page=1MiB" };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct outcome o;
        run(&o, LIST(good[i]), NULL);
        assert_int_equal(o.e, ERR_OK);
        done(&o);
    }
    struct buffer help;
    buffer_init(&help, 1 << 16);
    options_write_help(&table, &help);
    buffer_append_byte(&help, '\0');
    assert_non_null(strstr((char *)help.data, "\n  --slots N  (from 1 to 64)\n"));
    assert_non_null(strstr((char *)help.data, "\n  --keep TIME  (default 0s; 0 or at least 1m)\n"));
    buffer_deinit(&help);
}

static void wrong_files_are_explained_with_their_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message; /* message: after the file's name */
    } cases[] = {
        { "threads: 1\n\nmemory_limt: 1MiB\n",
          ":3: unknown key 'memory_limt'; did you mean memory_limit?" },
        { "memory-limit: 1MiB\n", ":1: unknown key 'memory-limit'; did you mean memory_limit?" },
        { "# only\nqwertyuiop: 1\n", ":2: unknown key 'qwertyuiop'" },
        { "threads: 1\nname: a\nthreads: 2\n",
          ":3: 'threads' is set a second time; the first is in line 1" },
        { "name:\n", ":1: 'name' needs one value: NAME" },
        { "name: ~\n", ":1: 'name' needs one value: NAME" },
        { "name: [a, b]\n", ":1: 'name' needs one value: NAME" },
        { "name:\n  deeper: 1\n", ":2: 'name' needs one value: NAME" },
        { "name: \"a\\0b\"\n", ":1: 'name' needs one value: NAME" },
        { "name: &a x\ndata_dir: *a\n", ":2: 'data_dir' needs one value: DIR" },
        { "config: other.yaml\n", ":1: a configuration file cannot name another" },
        { "? [a]\n: 1\n", ":1: expected an option's name" },
        { "- name\n", ":1: expected lines of 'key: value'" },
        { "name\n", ":1: expected lines of 'key: value'" },
        { "name: a\n---\nthreads: 1\n", ":2: expected one YAML document, not several" },
        { "threads: 1\nname: \"open\n", ":3: found unexpected end of stream" },
        { "threads: many\n", ":1: threads: 'many' is not a whole number" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct outcome o;
        char *path = file_with(cases[i].text);
        run(&o, LIST("--config", path), NULL);
        assert_int_equal(o.e, ERR_INVALID);
        assert_memory_equal(o.message, path, strlen(path));
        assert_string_equal(o.message + strlen(path), cases[i].message);
        done(&o);
        unlink(path);
    }
    struct outcome o;
    run(&o, LIST("--config", "/nonexistent/spindle.yaml"), NULL);
    assert_int_equal(o.e, ERR_IO);
    assert_string_equal(o.message, "cannot read the configuration file /nonexistent/spindle.yaml: "
                                   "No such file or directory");
    done(&o);
}

static void empty_files_set_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = { "", "\n", "# a comment\n", "---\n", "{}\n" };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct outcome o;
        char *path = file_with(texts[i]);
        run(&o, LIST("--config", path), NULL);
        assert_int_equal(o.e, ERR_OK);
        assert_int_equal(o.values.memory, 64 << 20);
        done(&o);
        unlink(path);
    }
}

static void too_large_a_file_is_refused(void **state)
{
    (void)state;
    struct outcome o;
    char *path = file_with("# ");
    assert_int_equal(truncate(path, OPTIONS_FILE_MAX + 1), 0);
    run(&o, LIST("--config", path), NULL);
    assert_int_equal(o.e, ERR_INVALID);
    assert_non_null(strstr(o.message, "is larger than"));
    done(&o);
    unlink(path);
}

static void printed_configuration_reads_back(void **state)
{
    (void)state;
    struct outcome first, second;
    run(&first,
        LIST("--name", "quo\"te \\ : # {x}\n\xc3\xa4", "--threads=7", "--mode=process", "--quiet",
             "--auth-token", "s3cret"),
        NULL);
    assert_int_equal(first.e, ERR_OK);
    struct buffer printed;
    buffer_init(&printed, 1 << 16);
    options_write_config(&table, &first.settings, &printed);
    buffer_append_byte(&printed, '\0');
    assert_int_equal(buffer_error(&printed), ERR_OK);
    assert_null(strstr((char *)printed.data, "s3cret"));
    assert_non_null(strstr((char *)printed.data, "auth_token: \"***\" # flag"));
    assert_non_null(strstr((char *)printed.data, "hold_time: \"2s\" # default"));

    char *path = file_with((char *)printed.data);
    run(&second, LIST("--config", path), NULL);
    assert_int_equal(second.e, ERR_OK);
    assert_string_equal(second.values.name, first.values.name);
    assert_int_equal(second.values.threads, 7);
    assert_int_equal(second.values.mode, 1);
    assert_true(second.values.is_quiet);
    unlink(path);
    buffer_deinit(&printed);
    done(&first);
    done(&second);
}

static void help_names_every_option_of_serve(void **state)
{
    (void)state;
    struct buffer help;
    buffer_init(&help, 1 << 16);
    options_write_help(&serve_option_table, &help);
    buffer_append_byte(&help, '\0');
    for (size_t i = 0; i < serve_option_table.count; i++) {
        char flag[80];
        snprintf(flag, sizeof flag, "\n  --%s", serve_option_table.rows[i].name);
        assert_non_null(strstr((char *)help.data, flag));
    }
    for (char *line = strtok((char *)help.data, "\n"); line != NULL; line = strtok(NULL, "\n"))
        assert_in_range(strlen(line), 0, 100);
    buffer_deinit(&help);
}

static void defaults_of_serve_are_readable(void **state)
{
    (void)state;
    struct serve_options values = { 0 };
    struct option_settings settings;
    struct arena arena;
    char message[OPTIONS_MESSAGE_MAX] = "";
    char name[] = "serve";
    char *argv[] = { name, NULL };
    arena_init(&arena, 4 * OPTIONS_FILE_MAX, NULL);
    assert_int_equal(
        options_read(&serve_option_table, 1, argv, NULL, &arena, &values, &settings, message),
        ERR_OK);
    assert_string_equal(values.otlp_grpc, "127.0.0.1:4317");
    assert_int_equal(values.log_level, 1);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold_without_sources),
        cmocka_unit_test(flags_win_over_environment_over_file),
        cmocka_unit_test(lists_gather_their_items),
        cmocka_unit_test(types_read_their_texts),
        cmocka_unit_test(wrong_flags_are_explained),
        cmocka_unit_test(bounds_belong_to_their_range),
        cmocka_unit_test(wrong_files_are_explained_with_their_line),
        cmocka_unit_test(empty_files_set_nothing),
        cmocka_unit_test(too_large_a_file_is_refused),
        cmocka_unit_test(printed_configuration_reads_back),
        cmocka_unit_test(help_names_every_option_of_serve),
        cmocka_unit_test(defaults_of_serve_are_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
