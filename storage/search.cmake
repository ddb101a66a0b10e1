# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
set(SEARCH_SOURCES expr.c content_hash.c)
set(SEARCH_LIBS PkgConfig::PCRE2)
