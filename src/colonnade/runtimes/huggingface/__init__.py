"""Models of Hugging Face transformers by task, with the bodies and answers of KServe's huggingfaceserver.

A folder with `config.json`, weights and a tokenizer (or an image processor) in; texts or images to classes, tokens,
vectors or texts out. Nothing is downloaded here: a hub address is `storageUri: hf://...`. Start in `adapter`; `tasks`
names what can be served, `settings` the flags, and one file per kind of model computes. Source of flags, tasks and
answers: KServe's huggingfaceserver with the transformers backend.
"""
