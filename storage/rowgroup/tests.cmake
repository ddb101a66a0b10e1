# SPDX-License-Identifier: Apache-2.0
spindle_test(rowgroup/rowgroup_test.c USES storage proto_testing SOURCES rowgroup/rowgroup_testing.c)
spindle_test(rowgroup/trace_filter_test.c USES storage)
