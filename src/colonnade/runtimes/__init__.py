"""Framework adapters: a file or folder on disk in, a `colonnade.model.Model` that predicts out.

Each adapter knows one framework and imports it only when a model of it is loaded; `catalogue` picks the adapter and
imports none. This room must not know how the artefact came to the disk (`storage`), nor how requests reach the model
(`wire`, `server`). Start reading in `base`, then `catalogue`, then `sklearn`; `pickles` and `allowlist` are what keeps
a pickle from running code.
"""
