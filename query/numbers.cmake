# SPDX-License-Identifier: Apache-2.0
set(NUMBERS_SOURCES
    graph.c graph_reduce.c jaeger_dependencies.c jaeger_metrics.c native_instances.c native_map.c
    native_series.c native_services.c numbers.c red_filter.c red_rows.c
    warm.c)
