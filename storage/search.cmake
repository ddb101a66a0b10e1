# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
set(SEARCH_SOURCES
    body_segment.c content_hash.c extents.c expr.c expr_evaluate.c expr_regex.c otlp_row.c search.c
    search_attributes.c search_candidates.c search_logs.c search_parts.c search_rows.c search_slowest.c
    search_traces.c search_scan.c search_walk.c trace_summary.c)
set(SEARCH_LIBS PkgConfig::PCRE2 m)
