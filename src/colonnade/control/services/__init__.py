"""One InferenceService: its components, what each replica of them runs, and the status that says how it fares."""
