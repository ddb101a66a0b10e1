# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(SQLITE3 REQUIRED IMPORTED_TARGET sqlite3)
set(SQLITE_SOURCES
    sqlite/backup.c sqlite/backup_file.c sqlite/backup_manifest.c sqlite/body_digests.c sqlite/builder.c sqlite/catalog.c sqlite/db.c sqlite/dedup.c sqlite/derived.c sqlite/derived_merge.c
    sqlite/derived_rollup.c sqlite/derived_query.c sqlite/derived_collect.c sqlite/derived_sums.c sqlite/derived_schema.c sqlite/digest_file.c sqlite/digests.c sqlite/disk_guard.c sqlite/filter_room.c sqlite/first_seen.c sqlite/group_cache.c sqlite/library.c
    sqlite/journal.c sqlite/journal_chain.c sqlite/journal_read.c sqlite/journal_rows.c sqlite/journal_segment.c sqlite/lookback.c
    sqlite/maintain.c sqlite/merge.c
    sqlite/operations.c sqlite/partition.c sqlite/reader_pool.c sqlite/replay.c sqlite/restore.c sqlite/retention.c
    sqlite/retention_clock.c sqlite/retention_logs.c sqlite/schema.c
    sqlite/sqlite_engine.c sqlite/sqlite_query.c sqlite/sqlite_verify.c sqlite/summary.c sqlite/pending_counts.c sqlite/pending_edges.c sqlite/view.c sqlite/watch.c
    sqlite/writer.c sqlite/writer_partition.c)
set(SQLITE_LIBS PkgConfig::SQLITE3)
