# SPDX-License-Identifier: Apache-2.0
set(ENGINE_TESTING testing/ledger.c testing/scratch.c)
if(SPINDLE_FAULTS) # it counts blocks
    spindle_test(sqlite/group_cache_test.c USES rowgroup_testing)
endif()
spindle_test(sqlite/dedup_test.c USES storage)
spindle_test(sqlite/first_seen_test.c USES storage SOURCES testing/scratch.c LIBS PkgConfig::SQLITE3)
spindle_test(sqlite/journal_test.c USES storage SOURCES testing/scratch.c LIBS PkgConfig::SQLITE3)
spindle_test(sqlite/reader_pool_test.c USES storage SOURCES testing/scratch.c LIBS PkgConfig::SQLITE3)
spindle_test(sqlite/sqlite_engine_test.c USES storage SOURCES engine_suite.c ${ENGINE_TESTING}
    TIMEOUT 180)
spindle_test(sqlite/retention_test.c USES storage SOURCES ${ENGINE_TESTING} LIBS PkgConfig::SQLITE3
    TIMEOUT 120)
spindle_test(sqlite/derived_test.c USES storage SOURCES ${ENGINE_TESTING} LIBS PkgConfig::SQLITE3
    TIMEOUT 120)
spindle_test(sqlite/disk_guard_test.c USES storage SOURCES ${ENGINE_TESTING} TIMEOUT 60)
spindle_test(sqlite/merge_test.c USES storage SOURCES ${ENGINE_TESTING} LIBS PkgConfig::SQLITE3 TIMEOUT 120)
spindle_test(sqlite/operations_test.c USES storage SOURCES testing/scratch.c LIBS PkgConfig::SQLITE3 TIMEOUT 60)
spindle_test(sqlite/damage_test.c USES storage SOURCES ${ENGINE_TESTING} LIBS PkgConfig::SQLITE3 TIMEOUT 120)
spindle_test(sqlite/backup_test.c USES storage SOURCES ${ENGINE_TESTING} TIMEOUT 180)
spindle_test(sqlite/golden_test.c USES storage codec SOURCES ${ENGINE_TESTING} TIMEOUT 60)
if(TARGET golden_test)
    target_compile_definitions(golden_test PRIVATE SPINDLE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
endif()
set(POWER_TESTING ${ENGINE_TESTING} sqlite/testing/power_vfs.c)
spindle_test(sqlite/power_test.c USES storage SOURCES ${POWER_TESTING} LIBS PkgConfig::SQLITE3 TIMEOUT 400)
if(SPINDLE_FAULTS)
    spindle_test(sqlite/fault_test.c USES storage SOURCES ${POWER_TESTING} LIBS PkgConfig::SQLITE3
        TIMEOUT 300)
    spindle_test(sqlite/crash_test.c USES storage SOURCES ${ENGINE_TESTING} TIMEOUT 300)
endif()
spindle_fuzz(sqlite/backup_fuzz.c USES storage)
add_executable(sqlite_engine_bench EXCLUDE_FROM_ALL sqlite/sqlite_engine_bench.c)
target_link_libraries(sqlite_engine_bench PRIVATE storage Threads::Threads)
