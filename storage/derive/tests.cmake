# SPDX-License-Identifier: Apache-2.0
spindle_test(derive/histogram_test.c USES storage LIBS m)
spindle_test(derive/edges_test.c USES storage)
spindle_test(derive/totals_test.c USES storage)
spindle_test(derive/name_tree_test.c USES storage)
spindle_test(derive/derive_test.c USES storage)
spindle_fuzz(derive/derive_fuzz.c USES storage)
spindle_fuzz(derive/name_fuzz.c USES storage)
