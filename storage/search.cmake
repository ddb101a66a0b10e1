# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
set(SEARCH_SOURCES
    content_hash.c expr.c expr_evaluate.c expr_regex.c)
set(SEARCH_LIBS PkgConfig::PCRE2)
