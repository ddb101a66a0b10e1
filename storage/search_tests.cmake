# SPDX-License-Identifier: Apache-2.0
spindle_test(expr_test.c USES storage LIBS m)
spindle_test(expr_regex_test.c USES storage)
spindle_test(search_traces_test.c SOURCES search_model.c search_testing.c USES storage)
spindle_test(search_bounds_test.c SOURCES search_model.c search_testing.c USES storage)
spindle_test(search_scan_test.c SOURCES search_model.c search_testing.c USES storage)
spindle_test(search_rows_test.c SOURCES search_model.c search_testing.c USES storage)
spindle_test(search_logs_test.c SOURCES search_testing.c USES storage)
spindle_test(body_segment_test.c SOURCES search_testing.c USES storage proto_testing)
