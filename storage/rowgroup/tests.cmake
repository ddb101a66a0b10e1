# SPDX-License-Identifier: Apache-2.0
# What the tests, the fuzz target and the benchmark share.
add_library(rowgroup_testing STATIC EXCLUDE_FROM_ALL rowgroup/rowgroup_testing.c)
target_link_libraries(rowgroup_testing PUBLIC storage)

spindle_test(rowgroup/rowgroup_test.c USES rowgroup_testing proto_testing)
if(TARGET rowgroup_test)
    target_compile_definitions(rowgroup_test PRIVATE
        FIXTURES="${PROJECT_SOURCE_DIR}/tests/fixtures"
        CORPUS="${PROJECT_SOURCE_DIR}/storage/corpus/rowgroup_fuzz")
endif()
spindle_test(rowgroup/rowgroup_scan_test.c USES rowgroup_testing proto_testing)
spindle_test(rowgroup/rowgroup_find_test.c USES rowgroup_testing)
spindle_test(rowgroup/rowgroup_texts_test.c USES storage)
spindle_test(rowgroup/trace_filter_test.c USES storage)

spindle_fuzz(rowgroup/rowgroup_fuzz.c USES rowgroup_testing)
if(SPINDLE_FUZZ)
    set_source_files_properties(rowgroup/rowgroup_group.c PROPERTIES
        COMPILE_DEFINITIONS FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION=1)
endif()

# Figures, not a test: built and run by hand.
add_executable(trace_filter_bench EXCLUDE_FROM_ALL rowgroup/trace_filter_bench.c)
target_link_libraries(trace_filter_bench PRIVATE storage)
add_executable(rowgroup_bench EXCLUDE_FROM_ALL rowgroup/rowgroup_bench.c)
target_link_libraries(rowgroup_bench PRIVATE rowgroup_testing bench codec)
