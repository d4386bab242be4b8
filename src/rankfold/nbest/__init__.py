"""N-best spans: compact records per window, an exact merge of shards, answers at the very end.

For answers: `extract` (logits → records) → `units` (records on disk, by work unit) → `coverage` (every unit
once, read back) and `ranges` (some examples at a time) → `merge` (records → one state) → `candidates`
(state → ranked spans) → `finalise` (ranked spans → answers) → `lines` (answers → files). For tagged
entities, `entity_extract` and `entity_records` take the place of the first, and
`rankfold.entities.tagged` that of the last. Nothing here imports torch.
"""
