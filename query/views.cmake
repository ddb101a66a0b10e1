# SPDX-License-Identifier: Apache-2.0
# What the page's views of traces, searches and logs are answered by.
set(VIEW_SOURCES
    box.c download.c json_parameters.c log_row.c log_tail.c native_compare.c native_find.c native_heatmap.c native_logs_tail.c native_raw.c native_skeleton.c native_status.c skeletons.c time_columns.c trace_skeleton.c)
