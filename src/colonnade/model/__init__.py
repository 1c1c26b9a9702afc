"""The contract between a model and whatever serves it, and its compilation into calls that cost nothing extra.

A user's class (`contract.Model`) says what it computes; `binding.bind` reads its signatures once, after `load`, and
returns plain callables from a decoded request to an answer. This room knows tensors and payloads (`wire`), and no
protocol's bytes, no socket, thread or framework. Start with `contract`, then `binding`; `signatures` reads annotations,
`payloads` and `frames` make arguments, `results` makes answers, `conformity` holds requests against declared inputs.
"""
