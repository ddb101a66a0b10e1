# SPDX-License-Identifier: Apache-2.0
set(ROWGROUP_SOURCES)
