"""Table models as ONNX graphs: converted beside the serving process, checked against the original, kept on disk.

A forest of 100 trees takes 3 ms a call in scikit-learn and 10 µs in onnxruntime, so the conversion is worth more than
any batching. But converters are wrong now and then, and a cast to float32 moves labels at a threshold. So a graph only
ever serves what it was seen to answer like the original, datatype by datatype; all else goes to the original. This room
knows models and arrays, not requests, and never runs a converter in the process that serves. Start with `verification`.
"""
