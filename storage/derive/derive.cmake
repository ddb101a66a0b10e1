# SPDX-License-Identifier: Apache-2.0
set(DERIVE_SOURCES
    derive/clean_name.c derive/derive_key.c derive/derived_text.c derive/half.c derive/histogram.c derive/histogram_quantile.c derive/intake.c
    derive/intake_edges.c derive/name_rules.c derive/name_tree.c derive/pairing.c derive/peer.c derive/tally.c derive/tally_stored.c
    derive/totals.c derive/weight.c)
