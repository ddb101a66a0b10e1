# SPDX-License-Identifier: Apache-2.0
# A room is one folder and one static library. Its headers are reached as "room/header.h", and only by
# targets that link it: each room gets an include directory of its own that holds a link to the folder
# and nothing else, so an arrow that the link line does not name does not compile.

function(spindle_room name)
    cmake_parse_arguments(ROOM "" "" "SOURCES;USES;LIBS" ${ARGN})
    add_library(${name} STATIC ${ROOM_SOURCES})
    set(doorway ${PROJECT_BINARY_DIR}/doorways/${name})
    file(MAKE_DIRECTORY ${doorway})
    file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${name} ${doorway}/${name} SYMBOLIC)
    target_include_directories(${name} PUBLIC ${doorway})
    target_link_libraries(${name} PUBLIC ${ROOM_USES} spindle_flags PRIVATE ${ROOM_LIBS} Threads::Threads)
endfunction()

# A cmocka test beside its module: spindle_test(arena_test.c USES base [LIBS ...] [SOURCES more.c])
pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)
function(spindle_test source)
    cmake_parse_arguments(TEST "" "TIMEOUT" "USES;LIBS;SOURCES" ${ARGN})
    if(NOT CMOCKA_FOUND)
        return()
    endif()
    get_filename_component(name ${source} NAME_WE)
    if(NOT TEST_TIMEOUT)
        set(TEST_TIMEOUT 300)
    endif()
    math(EXPR TEST_TIMEOUT "${TEST_TIMEOUT} * 4") # it finds what hangs, not who is busy
    add_executable(${name} ${source} ${TEST_SOURCES})
    target_link_libraries(${name} PRIVATE ${TEST_USES} ${TEST_LIBS} PkgConfig::CMOCKA Threads::Threads)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES TIMEOUT ${TEST_TIMEOUT})
endfunction()

# A libFuzzer target beside its parser: spindle_fuzz(cursor_fuzz.c USES proto)
function(spindle_fuzz source)
    cmake_parse_arguments(FUZZ "" "" "USES;LIBS;SOURCES" ${ARGN})
    if(NOT SPINDLE_FUZZ)
        return()
    endif()
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source} ${FUZZ_SOURCES})
    target_link_libraries(${name} PRIVATE ${FUZZ_USES} ${FUZZ_LIBS} Threads::Threads)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
endfunction()
