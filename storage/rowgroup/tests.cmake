# SPDX-License-Identifier: Apache-2.0
spindle_test(rowgroup/rowgroup_test.c USES storage proto_testing SOURCES rowgroup/rowgroup_testing.c)
spindle_test(rowgroup/trace_filter_test.c USES storage)
# Figures, not a test: built and run by hand.
add_executable(rowgroup_bench EXCLUDE_FROM_ALL rowgroup/rowgroup_bench.c rowgroup/rowgroup_testing.c)
target_link_libraries(rowgroup_bench PRIVATE storage bench codec)
