"""The tuned model in other tools' formats: plain open_clip, peft, ONNX."""
