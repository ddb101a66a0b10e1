# SPDX-License-Identifier: Apache-2.0
set(DERIVE_SOURCES derive/histogram.c)
