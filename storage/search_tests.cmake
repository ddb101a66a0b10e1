# SPDX-License-Identifier: Apache-2.0
spindle_test(expr_regex_test.c USES storage)
