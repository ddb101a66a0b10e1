# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(ZSTD_COLUMNS REQUIRED IMPORTED_TARGET libzstd)
set(ROWGROUP_SOURCES
    rowgroup/rowgroup_builder.c
    rowgroup/rowgroup_columns.c
    rowgroup/rowgroup_digest.c
    rowgroup/rowgroup_filter.c
    rowgroup/rowgroup_format.c
    rowgroup/rowgroup_group.c
    rowgroup/rowgroup_question.c
    rowgroup/rowgroup_rows.c
    rowgroup/rowgroup_segment.c
    rowgroup/rowgroup_sieve.c
    rowgroup/rowgroup_sort.c
    rowgroup/rowgroup_stream.c
    rowgroup/rowgroup_texts.c
    rowgroup/rowgroup_walk.c
    rowgroup/rowgroup_write.c
    rowgroup/trace_filter.c)
set(ROWGROUP_LIBS PkgConfig::ZSTD_COLUMNS)
