# SPDX-License-Identifier: Apache-2.0
set(SEARCH_SOURCES expr.c)
