"""The kinds that Colonnade knows: their shape, defaults and rules, and what this version does with each field.

An object is a plain JSON dict wherever it is stored or passed on, so that nothing of a user's manifest is ever lost;
typed views are parsed from it where code needs them. One declaration per field (`field_doc`, beside the field in its
struct) gives the parser, the OpenAPI schema, strict field validation and the verdict of `colonnade check`, so that
these four cannot disagree. The room is pure: it knows nothing of files fetched, of processes, of sockets or of the
store. Start with `kinds` (what exists), then `inferenceservice` (the main kind) and `shape` (what declarations compile
to).
"""
