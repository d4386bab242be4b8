"""N-best spans: compact records per window, an exact merge of shards, answers at the very end.

The order of the modules: `extract` (logits → records) → `units` (records on disk, by work unit) →
`merge` (records of all units → one state) → `candidates` (state → ranked spans) → `finalise`
(ranked spans → answers). Nothing here imports torch.
"""
