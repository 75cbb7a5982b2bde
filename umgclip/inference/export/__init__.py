"""The tuned model in other tools' formats: plain open_clip, transformers, peft, ONNX."""
