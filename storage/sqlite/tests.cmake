# SPDX-License-Identifier: Apache-2.0
set(ENGINE_TESTING testing/ledger.c)
spindle_test(sqlite/sqlite_engine_test.c USES storage SOURCES engine_suite.c ${ENGINE_TESTING}
    TIMEOUT 180)
