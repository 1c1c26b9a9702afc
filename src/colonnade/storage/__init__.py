"""Artefacts by URI: a `storageUri` in, a path on this machine out.

What is downloaded lies in a content-addressed cache that many processes share, and archives are unpacked so that no
member can leave its folder. This room must not know what a model is: which file in the folder is loaded is decided in
`runtimes`. Start reading in `fetch`; a further scheme is one more `Provider` in its registry.
"""
